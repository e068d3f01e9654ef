#include "nibble/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/safetensors_header.h"

namespace nibble {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::uint64_t kLengthBytes = 8;

struct DTypeBits {
  std::string_view name;
  std::int64_t bits;
};

// All of the format's dtypes: https://docs.rs/safetensors/latest/safetensors/tensor/enum.Dtype.html
constexpr std::array kDTypes = {
    DTypeBits{"F32", 32},    DTypeBits{"F16", 16},        DTypeBits{"BF16", 16},
    DTypeBits{"F64", 64},    DTypeBits{"I8", 8},          DTypeBits{"U8", 8},
    DTypeBits{"I16", 16},    DTypeBits{"I32", 32},        DTypeBits{"I64", 64},
    DTypeBits{"BOOL", 8},    DTypeBits{"F4", 4},          DTypeBits{"F6_E2M3", 6},
    DTypeBits{"F6_E3M2", 6}, DTypeBits{"F8_E5M2", 8},     DTypeBits{"F8_E4M3", 8},
    DTypeBits{"F8_E8M0", 8}, DTypeBits{"F8_E4M3FNUZ", 8}, DTypeBits{"F8_E5M2FNUZ", 8},
    DTypeBits{"U16", 16},    DTypeBits{"U32", 32},        DTypeBits{"U64", 64},
    DTypeBits{"C64", 64},
};

std::string supported_dtypes() {
  std::string names;
  for (const DTypeBits& known : kDTypes) {
    if (!dtype_from_name(known.name)) continue;
    if (!names.empty()) names += ", ";
    names += known.name;
  }
  return names;
}

/// The header's text, once its length is known to lie inside the file.
std::string_view header_text(const MappedFile& file) {
  const std::string name = file.path().string();
  if (file.size() < kLengthBytes) {
    fail("{}: {} bytes, too short for a safetensors file", name, file.size());
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.bytes().data(), sizeof length);
  if (length > kMaxSafetensorsHeader) {
    fail("{}: header of {} bytes, a safetensors file has at most {} (is it one?)", name, length,
         kMaxSafetensorsHeader);
  }
  if (length > file.size() - kLengthBytes) {
    fail("{}: cut off: header of {} bytes in a file of {}", name, length, file.size());
  }
  return {reinterpret_cast<const char*>(file.bytes().data()) + kLengthBytes,
          static_cast<std::size_t>(length)};
}

/// Bits an element of the dtype named takes.
std::int64_t bits_of(const SafetensorsHeader::Tensor& tensor, const std::string& origin) {
  const auto* known = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const DTypeBits& dtype) {
    return dtype.name == tensor.dtype;
  });
  if (known == kDTypes.end()) {
    fail("{}: tensor {}: unknown dtype {}", origin, quoted_name(tensor.name),
         quoted_name(tensor.dtype));
  }
  return known->bits;
}

/// Shape, dtype and offsets agree with each other and with the `data_bytes` behind the header.
void check_tensor(const SafetensorsHeader::Tensor& tensor, std::uint64_t data_bytes,
                  const std::string& origin) {
  if (tensor.begin > tensor.end || tensor.end > data_bytes) {
    fail("{}: tensor {}: bytes {} to {} do not lie in the file, which has {} bytes of data", origin,
         quoted_name(tensor.name), tensor.begin, tensor.end, data_bytes);
  }
  const std::int64_t elements = checked_elements(tensor.shape);
  std::int64_t bits = 0;
  const bool fits = elements >= 0 &&
                    !__builtin_mul_overflow(elements, bits_of(tensor, origin), &bits) &&
                    bits % 8 == 0;
  if (!fits || static_cast<std::uint64_t>(bits / 8) != tensor.end - tensor.begin) {
    fail("{}: tensor {}: {} bytes do not make the shape {} of {}", origin, quoted_name(tensor.name),
         tensor.end - tensor.begin, shape_to_string(tensor.shape), tensor.dtype);
  }
}

TensorEntry make_entry(SafetensorsHeader::Tensor tensor, const std::byte* data) {
  TensorEntry entry{.name = std::move(tensor.name)};
  const std::optional<DType> dtype = dtype_from_name(tensor.dtype);
  if (!dtype) entry.unsupported = tensor.dtype;
  entry.view = {.dtype = dtype.value_or(DType::kU8),
                .shape = std::move(tensor.shape),
                .data = data + tensor.begin,
                .bytes = static_cast<std::size_t>(tensor.end - tensor.begin)};
  return entry;
}

/// The official reader takes no bytes that belong to no tensor; neither does this one.
void check_no_gaps(const std::vector<TensorEntry>& entries, std::span<const std::byte> data,
                   const std::string& origin) {
  const std::byte* expected = data.data();
  for (const TensorEntry& entry : entries) {
    if (entry.view.data != expected) {
      fail("{}: tensor {}: {} bytes before it belong to no tensor", origin, quoted_name(entry.name),
           entry.view.data - expected);
    }
    expected += entry.view.bytes;
  }
  if (const auto left = data.data() + data.size() - expected; left != 0) {
    fail("{}: {} bytes at the end belong to no tensor", origin, left);
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string origin = path.string();
  const std::string_view text = header_text(file_);
  const auto data = file_.bytes().subspan(kLengthBytes + text.size());
  SafetensorsHeader header = parse_safetensors_header(text, origin);
  metadata_ = std::move(header.metadata);
  std::vector<TensorEntry> entries;
  entries.reserve(header.tensors.size());
  for (SafetensorsHeader::Tensor& tensor : header.tensors) {
    check_tensor(tensor, data.size(), origin);
    entries.push_back(make_entry(std::move(tensor), data.data()));
  }
  tensors_ = TensorTable(std::move(entries), file_, supported_dtypes());
  check_no_gaps(tensors_.entries(), data, origin);
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const TensorEntry& entry : entries()) names.push_back(entry.name);
  return names;
}

}  // namespace nibble
