#include "nibble/formats/gguf_writer.h"

#include <array>
#include <bit>
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

std::uint64_t declared_bytes(const TensorDeclaration& tensor, const std::string& origin) {
  const std::int64_t bytes = checked_tensor_bytes(tensor.dtype, tensor.shape);
  if (bytes < 0 || tensor.shape.empty() || tensor.shape.size() > 4 ||
      find_ggml_type(tensor.dtype) == nullptr) {
    fail("{}: tensor {}: {} {} cannot be stored in GGUF", origin, quoted_name(tensor.name),
         dtype_name(tensor.dtype), shape_to_string(tensor.shape));
  }
  return static_cast<std::uint64_t>(bytes);
}

/// What the file says of each tensor before their data.
std::string make_infos(const std::vector<TensorDeclaration>& tensors,
                       const std::vector<TensorExtent>& extents) {
  std::string infos;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorDeclaration& tensor = tensors[i];
    append_string(infos, tensor.name);
    append(infos, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) append(infos, *dim);
    append(infos, find_ggml_type(tensor.dtype)->id);
    append(infos, extents[i].offset);
  }
  return infos;
}

TensorFileLayout make_layout(const GgufMetadata& metadata,
                             const std::vector<TensorDeclaration>& tensors,
                             const std::string& origin) {
  std::vector<TensorExtent> extents;
  for (const TensorDeclaration& tensor : tensors) {
    extents.push_back({tensor.name, declared_bytes(tensor, origin)});
  }
  lay_out_tensors(extents, kAlignment, origin);
  std::string header = "GGUF";
  append(header, std::uint32_t{3});
  append(header, std::uint64_t{tensors.size()});
  append(header, metadata.count());
  header += metadata.bytes();
  header += make_infos(tensors, extents);
  header.append((kAlignment - header.size() % kAlignment) % kAlignment, '\0');
  return {std::move(header), std::move(extents), kAlignment};
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
                       const std::vector<TensorDeclaration>& tensors, const Resumption& resumption)
    : TensorFileWriter(path, make_layout(metadata, tensors, path.string()), resumption) {}

}  // namespace nibble
