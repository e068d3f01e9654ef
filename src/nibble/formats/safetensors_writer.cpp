#include "nibble/formats/safetensors_writer.h"

#include <array>
#include <bit>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr std::uint64_t kDataAlignment = 64;  // a cache line, and the widest vector

/// `text` as a JSON string, its quotes included.
std::string json_string(const std::string& text, const std::string& origin) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("{}: {} is not valid UTF-8", origin, quoted_name(text));
  }
}

/// Bytes of a tensor, after a check of everything the format asks of it.
std::uint64_t declared_size(const TensorDeclaration& tensor, const std::string& origin) {
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

TensorFileLayout make_layout(const std::vector<TensorDeclaration>& tensors,
                             const std::map<std::string, std::string>& metadata,
                             const std::string& origin) {
  std::vector<TensorExtent> extents;
  for (const TensorDeclaration& tensor : tensors) {
    extents.push_back({tensor.name, declared_size(tensor, origin)});
  }
  lay_out_tensors(extents, 1, origin);
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":{" + metadata_json(metadata, origin) + '}';
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (json.size() > 1) json += ',';
    json += fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                        json_string(tensors[i].name, origin), dtype_name(tensors[i].dtype),
                        shape_to_string(tensors[i].shape), extents[i].offset,
                        extents[i].offset + extents[i].bytes);
  }
  json += '}';
  const std::uint64_t unpadded = sizeof(std::uint64_t) + json.size();
  json.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  if (json.size() > kMaxSafetensorsHeader) {
    fail("{}: the names of its tensors take {} bytes, more than a header can have", origin,
         json.size());
  }
  static_assert(std::endian::native == std::endian::little);
  const auto length = std::bit_cast<std::array<char, 8>>(std::uint64_t{json.size()});
  return {std::string(length.begin(), length.end()) + json, std::move(extents), 1};
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<TensorDeclaration>& tensors,
                                     const std::map<std::string, std::string>& metadata,
                                     const Resumption& resumption)
    : TensorFileWriter(path, make_layout(tensors, metadata, path.string()), resumption) {}

}  // namespace nibble
