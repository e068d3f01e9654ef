#include "nibble/formats/safetensors_writer.h"

#include <array>
#include <bit>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the official reader refuses more
constexpr std::uint64_t kDataAlignment = 64;       // a cache line, and the widest vector

/// `text` as a JSON string, its quotes included.
std::string json_string(const std::string& text, const std::string& origin) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("{}: {} is not valid UTF-8", origin, quoted_name(text));
  }
}

/// Bytes of a tensor, after a check of everything the format asks of it.
std::uint64_t declared_bytes(const TensorDeclaration& tensor, const std::string& origin) {
  if (tensor.name == "__metadata__") fail("{}: a tensor cannot be named __metadata__", origin);
  const std::int64_t bytes = checked_tensor_bytes(tensor.dtype, tensor.shape);
  if (bytes < 0 || dtype_layout(tensor.dtype).block != 1) {
    fail("{}: tensor {}: {} {} cannot be stored in safetensors", origin, quoted_name(tensor.name),
         dtype_name(tensor.dtype), shape_to_string(tensor.shape));
  }
  return static_cast<std::uint64_t>(bytes);
}

std::string metadata_json(const std::map<std::string, std::string>& metadata,
                          const std::string& origin) {
  std::string json;
  for (const auto& [key, value] : metadata) {
    if (!json.empty()) json += ',';
    json += json_string(key, origin) + ':' + json_string(value, origin);
  }
  return json;
}

/// The header from its length to its padding, and the bytes of all tensors.
std::pair<std::string, std::uint64_t> make_header(
    const std::vector<TensorDeclaration>& tensors,
    const std::map<std::string, std::string>& metadata, const std::string& origin) {
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":{" + metadata_json(metadata, origin) + '}';
  std::unordered_set<std::string_view> names;
  std::uint64_t offset = 0;
  for (const TensorDeclaration& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      fail("{}: two tensors are named {}", origin, quoted_name(tensor.name));
    }
    const std::uint64_t bytes = declared_bytes(tensor, origin);
    std::uint64_t end = 0;
    if (__builtin_add_overflow(offset, bytes, &end) || end > INT64_MAX / 2) {
      fail("{}: the tensors are too large for a file", origin);
    }
    if (json.size() > 1) json += ',';
    json += fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                        json_string(tensor.name, origin), dtype_name(tensor.dtype),
                        shape_to_string(tensor.shape), offset, end);
    offset = end;
  }
  json += '}';
  const std::uint64_t unpadded = sizeof(std::uint64_t) + json.size();
  json.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  if (json.size() > kMaxHeader) {
    fail("{}: the names of its tensors take {} bytes, more than a header can have", origin,
         json.size());
  }
  static_assert(std::endian::native == std::endian::little);
  const auto length = std::bit_cast<std::array<char, 8>>(std::uint64_t{json.size()});
  return {std::string(length.begin(), length.end()) + json, offset};
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<TensorDeclaration> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path), tensors_(std::move(tensors)), output_(path) {
  const auto [header, data_bytes] = make_header(tensors_, metadata, path_.string());
  file_bytes_ = header.size() + data_bytes;
  output_.reserve(file_bytes_);
  output_.write(header);
}

void SafetensorsWriter::check_complete() const {
  if (remaining_ != 0) {
    fail("{}: tensor {} lacks {} bytes", path_.string(), quoted_name(tensors_[begun_ - 1].name),
         remaining_);
  }
}

void SafetensorsWriter::begin(std::string_view name) {
  check_complete();
  if (begun_ == tensors_.size() || tensors_[begun_].name != name) {
    fail("{}: tensor {} is not the next one declared", path_.string(), quoted_name(name));
  }
  const TensorDeclaration& tensor = tensors_[begun_++];
  remaining_ = static_cast<std::uint64_t>(checked_tensor_bytes(tensor.dtype, tensor.shape));
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > remaining_) {
    fail("{}: {} bytes more than tensor {} has", path_.string(), bytes.size() - remaining_,
         begun_ == 0 ? "(none begun)" : quoted_name(tensors_[begun_ - 1].name));
  }
  output_.write(bytes);
  remaining_ -= bytes.size();
}

void SafetensorsWriter::write_tensor(std::string_view name, std::span<const std::byte> bytes) {
  begin(name);
  write(bytes);
  check_complete();
}

void SafetensorsWriter::commit() {
  check_complete();
  if (begun_ != tensors_.size()) {
    fail("{}: tensor {} was not written", path_.string(), quoted_name(tensors_[begun_].name));
  }
  output_.commit();
}

}  // namespace nibble
