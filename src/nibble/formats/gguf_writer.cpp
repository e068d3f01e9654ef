#include "nibble/formats/gguf_writer.h"

#include <array>
#include <bit>
#include <unordered_set>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/gguf_types.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr std::uint64_t kAlignment = 32;  // what readers take where the file does not say

static_assert(std::endian::native == std::endian::little);

template <typename T>
void append(std::string& bytes, T value) {
  const auto raw = std::bit_cast<std::array<char, sizeof(T)>>(value);
  bytes.append(raw.data(), raw.size());
}

void append_string(std::string& bytes, std::string_view text) {
  append(bytes, std::uint64_t{text.size()});
  bytes += text;
}

std::uint64_t padding(std::uint64_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

std::uint64_t declared_bytes(const TensorDeclaration& tensor, const std::string& origin) {
  const std::int64_t bytes = checked_tensor_bytes(tensor.dtype, tensor.shape);
  if (bytes < 0 || tensor.shape.empty() || tensor.shape.size() > 4 ||
      find_ggml_type(tensor.dtype) == nullptr) {
    fail("{}: tensor {}: {} {} cannot be stored in GGUF", origin, quoted_name(tensor.name),
         dtype_name(tensor.dtype), shape_to_string(tensor.shape));
  }
  return static_cast<std::uint64_t>(bytes);
}

/// The infos of all tensors, and the bytes of their data with padding behind each.
std::pair<std::string, std::uint64_t> make_infos(const std::vector<TensorDeclaration>& tensors,
                                                 const std::string& origin) {
  std::string infos;
  std::unordered_set<std::string_view> names;
  std::uint64_t offset = 0;
  for (const TensorDeclaration& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      fail("{}: two tensors are named {}", origin, quoted_name(tensor.name));
    }
    const std::uint64_t bytes = declared_bytes(tensor, origin);
    append_string(infos, tensor.name);
    append(infos, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) append(infos, *dim);
    append(infos, find_ggml_type(tensor.dtype)->id);
    append(infos, offset);
    if (__builtin_add_overflow(offset, bytes + padding(bytes), &offset) || offset > INT64_MAX / 2) {
      fail("{}: the tensors are too large for a file", origin);
    }
  }
  return {infos, offset};
}

}  // namespace

void GgufMetadata::begin(std::string_view key, GgufType type) {
  ++count_;
  append_string(bytes_, key);
  append(bytes_, static_cast<std::uint32_t>(type));
}

void GgufMetadata::set(std::string_view key, std::string_view value) {
  begin(key, GgufType::kString);
  append_string(bytes_, value);
}

void GgufMetadata::set_uint(std::string_view key, std::uint32_t value) {
  begin(key, GgufType::kU32);
  append(bytes_, value);
}

void GgufMetadata::set_float(std::string_view key, float value) {
  begin(key, GgufType::kF32);
  append(bytes_, value);
}

void GgufMetadata::set_bool(std::string_view key, bool value) {
  begin(key, GgufType::kBool);
  append(bytes_, static_cast<std::uint8_t>(value));
}

void GgufMetadata::set_strings(std::string_view key, std::span<const std::string> values) {
  begin(key, GgufType::kArray);
  append(bytes_, static_cast<std::uint32_t>(GgufType::kString));
  append(bytes_, std::uint64_t{values.size()});
  for (const std::string& value : values) append_string(bytes_, value);
}

void GgufMetadata::set_floats(std::string_view key, std::span<const float> values) {
  begin(key, GgufType::kArray);
  append(bytes_, static_cast<std::uint32_t>(GgufType::kF32));
  append(bytes_, std::uint64_t{values.size()});
  for (const float value : values) append(bytes_, value);
}

void GgufMetadata::set_ints(std::string_view key, std::span<const std::int32_t> values) {
  begin(key, GgufType::kArray);
  append(bytes_, static_cast<std::uint32_t>(GgufType::kI32));
  append(bytes_, std::uint64_t{values.size()});
  for (const std::int32_t value : values) append(bytes_, value);
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
                       std::vector<TensorDeclaration> tensors)
    : path_(path), tensors_(std::move(tensors)), output_(path) {
  const auto [infos, data_bytes] = make_infos(tensors_, path_.string());
  std::string header = "GGUF";
  append(header, std::uint32_t{3});
  append(header, std::uint64_t{tensors_.size()});
  append(header, metadata.count());
  header += metadata.bytes();
  header += infos;
  header.append(padding(header.size()), '\0');
  file_bytes_ = header.size() + data_bytes;
  output_.reserve(file_bytes_);
  output_.write(header);
}

/// Checks that the tensor begun is full, and fills up behind it.
void GgufWriter::finish_tensor() {
  if (remaining_ != 0) {
    fail("{}: tensor {} lacks {} bytes", path_.string(), quoted_name(tensors_[begun_ - 1].name),
         remaining_);
  }
  output_.write(std::string(padding(output_.bytes_written()), '\0'));
}

void GgufWriter::begin(std::string_view name) {
  finish_tensor();
  if (begun_ == tensors_.size() || tensors_[begun_].name != name) {
    fail("{}: tensor {} is not the next one declared", path_.string(), quoted_name(name));
  }
  remaining_ = declared_bytes(tensors_[begun_++], path_.string());
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > remaining_) {
    fail("{}: {} bytes more than tensor {} has", path_.string(), bytes.size() - remaining_,
         begun_ == 0 ? "(none begun)" : quoted_name(tensors_[begun_ - 1].name));
  }
  output_.write(bytes);
  remaining_ -= bytes.size();
}

void GgufWriter::commit() {
  finish_tensor();
  if (begun_ != tensors_.size()) {
    fail("{}: tensor {} was not written", path_.string(), quoted_name(tensors_[begun_].name));
  }
  output_.commit();
}

}  // namespace nibble
