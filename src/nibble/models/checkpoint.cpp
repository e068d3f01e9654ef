#include "nibble/models/checkpoint.h"

#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/gguf_split.h"
#include "nibble/models/architecture.h"
#include "nibble/models/gguf_model.h"
#include "nibble/models/gguf_names.h"
#include "nibble/models/quantization_config.h"
#include "nibble/weights/dequantize.h"
#include "nibble/weights/repack.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

bool is_gguf_file(const fs::path& path) {
  return path.extension() == ".gguf" && !fs::is_directory(path);
}

bool has_tokenizer_files(const fs::path& folder) {
  return fs::exists(folder / "tokenizer.json") || fs::exists(folder / "tokenizer.model") ||
         fs::exists(folder / "vocab.json");
}

/// Checks a packed part: its dtype, its shape and where it lies.
CheckpointTensor packed_part(const Checkpoint& checkpoint, const std::string& name, DType dtype,
                             const std::vector<std::int64_t>& shape) {
  CheckpointTensor tensor = checkpoint.tensor(name, shape);
  if (tensor.view.dtype != dtype) {
    fail("{}: tensor \"{}\" has dtype {}, expected {}", checkpoint.path().string(), name,
         dtype_name(tensor.view.dtype), dtype_name(dtype));
  }
  // Kernels read packed parts where they lie.
  const auto alignment = static_cast<std::uintptr_t>(dtype_layout(dtype).bytes);
  if (reinterpret_cast<std::uintptr_t>(tensor.view.data) % alignment != 0) {
    fail("{}: tensor \"{}\" is not aligned to its {} bytes an element in the file",
         checkpoint.path().string(), name, alignment);
  }
  return tensor;
}

}  // namespace

WeightView PackedTensors::view() const {
  WeightView out{layout, {}};
  for (std::size_t i = 0; i < parts.size(); ++i) out.parts[i] = parts[i].view.data;
  return out;
}

Checkpoint::Checkpoint(const fs::path& path) : path_(path) {
  if (!fs::exists(path)) fail("{}: no such file or folder", path.string());
  if (is_gguf_file(path)) {
    open_gguf();
  } else if (fs::is_directory(path)) {
    open_folder();
  } else {
    fail("{}: expected a model folder or a .gguf file", path.string());
  }
}

void Checkpoint::open_folder() {
  const fs::path config_path = path_ / "config.json";
  if (!fs::exists(config_path)) fail("{}: no config.json in this folder", path_.string());
  config_origin_ = config_path.string();
  config_ = read_json_file(config_path);
  const JsonObject config(config_, config_origin_);
  const Architecture& architecture = find_architecture(config);
  spec_ = architecture.make_spec(config);
  spec_.architecture = architecture.name;
  read_quantization(config);
  const fs::path generation_path = path_ / "generation_config.json";
  if (fs::exists(generation_path)) {
    const Json generation = read_json_file(generation_path);
    std::vector<std::int32_t> eos = read_eos(JsonObject(generation, generation_path.string()));
    if (!eos.empty()) spec_.eos = std::move(eos);
  }
  source_ = open_folder_source(path_);
}

void Checkpoint::open_gguf() {
  gguf_ = std::make_shared<const GgufModel>(path_);
  const std::string origin = path_.string();
  const Architecture& architecture =
      find_gguf_architecture(gguf_->metadata().get_string("general.architecture"), origin);
  config_ = gguf_config(*gguf_, architecture);
  spec_ = architecture.make_spec(JsonObject(config_, origin));
  spec_.architecture = architecture.name;
  source_ = make_gguf_source(gguf_, gguf_modules(spec_, architecture));
}

std::vector<fs::path> Checkpoint::places() const {
  if (!is_gguf()) return {path_};
  std::vector<fs::path> parts;
  for (const GgufFile& file : gguf_->files()) parts.push_back(file.file().path());
  return parts;
}

void Checkpoint::read_quantization(const JsonObject& config) {
  const auto quantization = config.find_object("quantization_config");
  if (!quantization) return;
  foreign_ = read_foreign_quantization(*quantization);
  if (foreign_) return;
  packed_layouts_ = read_quantization_config(*quantization, spec_);
  layer_activations_ = read_layer_activations(*quantization);
}

CheckpointTensor Checkpoint::tensor(const std::string& name,
                                    const std::vector<std::int64_t>& shape) const {
  std::optional<CheckpointTensor> found = source_->find(name);
  if (!found) {
    fail("{}: tensor \"{}\" is missing, expected shape {}", path_.string(), name,
         shape_to_string(shape));
  }
  if (found->view.shape != shape) {
    fail("{}: tensor \"{}\" has shape {}, expected {}", path_.string(), name,
         shape_to_string(found->view.shape), shape_to_string(shape));
  }
  return *std::move(found);
}

CheckpointTensor Checkpoint::float_tensor(const std::string& name,
                                          const std::vector<std::int64_t>& shape) const {
  CheckpointTensor found = tensor(name, shape);
  if (!can_dequantize(found.view.dtype)) {
    fail("{}: tensor \"{}\" has dtype {}, expected floating point numbers", path_.string(), name,
         dtype_name(found.view.dtype));
  }
  return found;
}

CheckpointTensor Checkpoint::dense_weight(const LinearSpec& linear) const {
  const std::string& module = spec_.is_tied(linear) ? spec_.embedding : linear.name;
  return float_tensor(module + ".weight", {linear.out, linear.in});
}

std::optional<PackedTensors> Checkpoint::packed_weight(const LinearSpec& linear) const {
  const auto found = packed_layouts_.find(linear.name);
  if (found == packed_layouts_.end()) return std::nullopt;
  PackedTensors tensors{.layout = found->second, .parts = {}};
  for (const PartLayout& part : codec_of(tensors.layout.format).parts(tensors.layout)) {
    tensors.parts.push_back(packed_part(*this, linear.name + part.suffix, part.dtype,
                                        part.tensor_shape(block_count(tensors.layout))));
  }
  return tensors;
}

std::optional<ForeignLayer> Checkpoint::foreign_weight(const LinearSpec& linear) const {
  if (is_gguf()) {
    // A tied head is the embedding, whose rows are looked up as floats: both are.
    if (spec_.is_tied(linear)) return std::nullopt;
    return gguf_integers(dense_weight(linear));
  }
  if (!foreign_) return std::nullopt;
  return foreign_->find(*source_, path_.string(), linear);
}

std::optional<WeightLayout> Checkpoint::layout_of(const LinearSpec& linear) const {
  if (const auto packed = packed_weight(linear)) return packed->layout;
  const auto foreign = foreign_weight(linear);
  return foreign ? repacked_layout(foreign->matrix) : std::nullopt;
}

ActivationType Checkpoint::activations(const LinearSpec& linear,
                                       std::optional<ActivationType> asked) const {
  if (asked && !is_int8(*asked)) return *asked;
  const auto own = layer_activations_.find(linear.name);
  if (own != layer_activations_.end()) return own->second;
  const ActivationType type = asked.value_or(ActivationType::kBF16);
  return linear.name == spec_.head.name ? without_int8(type) : type;
}

bool Checkpoint::has_tokenizer() const {
  return is_gguf() ? gguf_->metadata().has("tokenizer.ggml.tokens") : has_tokenizer_files(path_);
}

Tokenizer Checkpoint::load_tokenizer() const {
  return is_gguf() ? Tokenizer::from_gguf(gguf_vocab(gguf_->metadata())) : Tokenizer::load(path_);
}

Tokenizer load_tokenizer(const fs::path& path) {
  if (!fs::exists(path)) fail("{}: no such file or folder", path.string());
  if (is_gguf_file(path)) return Tokenizer::from_gguf(gguf_vocab(open_gguf_metadata(path)));
  return Tokenizer::load(path);
}

}  // namespace nibble
