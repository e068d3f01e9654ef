#include "nibble/formats/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/gguf_reader.h"
#include "nibble/formats/gguf_types.h"

namespace nibble {
namespace {

constexpr std::int64_t kDefaultAlignment = 32;
constexpr std::uint32_t kMaxDimensions = 4;    // ggml's
constexpr std::uint64_t kSmallestPair = 13;    // empty key, type, one byte
constexpr std::uint64_t kSmallestTensor = 24;  // empty name, no dimensions, type, offset

/// A tensor info as it stands in the file.
struct TensorInfo {
  std::string_view name;
  std::vector<std::int64_t> shape;  // outermost first
  std::uint32_t type = 0;
  std::uint64_t offset = 0;  // from the start of the data
};

void read_magic(GgufReader& reader) {
  reader.enter("the header");
  if (reader.remaining() < 4 || reader.read<std::uint32_t>() != 0x46554747u) {
    fail("{}: not a GGUF file (it does not begin with \"GGUF\")", reader.origin());
  }
}

std::uint32_t read_version(GgufReader& reader) {
  const auto version = reader.read<std::uint32_t>();
  if (version == 2 || version == 3) return version;
  const std::uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= 3) {
    fail("{}: big-endian GGUF is not supported, expected little-endian", reader.origin());
  }
  fail("{}: GGUF version {} is not supported, expected 2 or 3", reader.origin(), version);
}

/// A count out of the header, each of whose items takes at least `smallest` bytes.
std::uint64_t read_count(GgufReader& reader, std::string_view what, std::uint64_t smallest) {
  const auto count = reader.read<std::uint64_t>();
  if (count > reader.remaining() / smallest) {
    fail("{}: {} {} cannot fit in {} bytes", reader.origin(), count, what, reader.remaining());
  }
  return count;
}

TensorInfo read_tensor_info(GgufReader& reader) {
  TensorInfo info;
  reader.enter("the tensor infos");
  info.name = reader.read_string();
  reader.enter("the info of tensor", info.name);
  const auto dimensions = reader.read<std::uint32_t>();
  if (dimensions > kMaxDimensions) {
    fail("{}: tensor {}: {} dimensions, expected at most {}", reader.origin(),
         quoted_name(info.name), dimensions, kMaxDimensions);
  }
  info.shape.resize(dimensions);
  for (auto dim = info.shape.rbegin(); dim != info.shape.rend(); ++dim) {
    const auto size = reader.read<std::uint64_t>();
    if (size > INT64_MAX) {
      fail("{}: tensor {}: a dimension of {} elements", reader.origin(), quoted_name(info.name),
           size);
    }
    *dim = static_cast<std::int64_t>(size);
  }
  info.type = reader.read<std::uint32_t>();
  info.offset = reader.read<std::uint64_t>();
  return info;
}

/// Bytes that `info` takes; 0 for a type whose size is not known.
std::uint64_t tensor_bytes(const TensorInfo& info, const std::string& origin) {
  const GgmlType* type = find_ggml_type(info.type);
  const std::int64_t elements = checked_elements(info.shape);
  if (elements < 0) {
    fail("{}: tensor {}: the shape {} is too large", origin, quoted_name(info.name),
         shape_to_string(info.shape));
  }
  if (type == nullptr) return 0;
  if ((info.shape.empty() ? 1 : info.shape.back()) % type->layout.block != 0) {
    fail("{}: tensor {}: rows of shape {} are not whole blocks of {} ({} elements)", origin,
         quoted_name(info.name), shape_to_string(info.shape), type->name, type->layout.block);
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / type->layout.block, type->layout.bytes, &bytes)) {
    fail("{}: tensor {}: the shape {} is too large", origin, quoted_name(info.name),
         shape_to_string(info.shape));
  }
  return static_cast<std::uint64_t>(bytes);
}

/// The tensor that `info` places in `data`, everything checked.
TensorEntry make_entry(TensorInfo info, std::span<const std::byte> data, std::uint64_t alignment,
                       const std::string& origin) {
  const std::uint64_t bytes = tensor_bytes(info, origin);
  if (info.offset % alignment != 0) {
    fail("{}: tensor {}: offset {} is not a multiple of the alignment, {}", origin,
         quoted_name(info.name), info.offset, alignment);
  }
  if (info.offset > data.size() || bytes > data.size() - info.offset) {
    fail("{}: tensor {}: {} bytes at offset {} do not lie in the file, which has {} bytes of data",
         origin, quoted_name(info.name), bytes, info.offset, data.size());
  }
  TensorEntry entry{.name = std::string(info.name)};
  const GgmlType* type = find_ggml_type(info.type);
  if (type == nullptr) {
    entry.unsupported = fmt::format("number {}", info.type);
  } else if (!type->dtype) {
    entry.unsupported = type->name;
  }
  entry.view = {.dtype = type != nullptr && type->dtype ? *type->dtype : DType::kU8,
                .shape = std::move(info.shape),
                .data = data.data() + info.offset,
                .bytes = static_cast<std::size_t>(bytes)};
  return entry;
}

}  // namespace

bool is_gguf_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  std::array<char, 4> magic{};
  std::ifstream file(path, std::ios::binary);
  return file.read(magic.data(), magic.size()) && std::memcmp(magic.data(), "GGUF", 4) == 0;
}

GgufFile::GgufFile(const std::filesystem::path& path) : file_(path) {
  GgufReader reader(file_.bytes(), path.string());
  read_magic(reader);
  version_ = read_version(reader);
  const std::uint64_t tensor_count = read_count(reader, "tensors", kSmallestTensor);
  const std::uint64_t pair_count = read_count(reader, "metadata keys", kSmallestPair);
  read_metadata(reader, pair_count);
  read_tensors(reader, tensor_count);
}

void GgufFile::read_metadata(GgufReader& reader, std::uint64_t count) {
  keys_.reserve(count);
  values_.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    reader.enter("the metadata");
    const std::string_view key = reader.read_string();
    reader.enter("metadata key", key);
    if (!values_.emplace(key, reader.read_value()).second) {
      fail("{}: metadata key {} stands there twice", reader.origin(), quoted_name(key));
    }
    keys_.push_back(key);
  }
}

void GgufFile::read_tensors(GgufReader& reader, std::uint64_t count) {
  const auto alignment = static_cast<std::uint64_t>(
      get_int("general.alignment", 1, std::int64_t{1} << 31, kDefaultAlignment));
  if (!std::has_single_bit(alignment)) {
    fail("{}: metadata key \"general.alignment\" must be a power of two, found {}", reader.origin(),
         alignment);
  }
  if (count > reader.remaining() / kSmallestTensor) {
    fail("{}: {} tensors cannot fit in {} bytes", reader.origin(), count, reader.remaining());
  }
  std::vector<TensorInfo> infos;
  infos.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) infos.push_back(read_tensor_info(reader));
  // The data begins at the next multiple of the alignment; a file without tensors may end before.
  const std::uint64_t end = reader.position();
  const std::uint64_t start = (end + alignment - 1) / alignment * alignment;
  const auto data = file_.bytes().subspan(std::min<std::uint64_t>(start, file_.size()));
  std::vector<TensorEntry> entries;
  entries.reserve(count);
  for (TensorInfo& info : infos) {
    entries.push_back(make_entry(std::move(info), data, alignment, reader.origin()));
  }
  tensors_ = TensorTable(std::move(entries), file_, std::string(supported_ggml_types()));
}

std::vector<std::string> GgufFile::names() const {
  std::vector<std::string> names;
  for (const TensorEntry& entry : entries()) names.push_back(entry.name);
  return names;
}

}  // namespace nibble
