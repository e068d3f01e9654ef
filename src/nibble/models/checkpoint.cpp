#include "nibble/models/checkpoint.h"

#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
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

/// Whether `path` is one, or pretends to be: what is wrong with it is said as it is opened.
bool leads_to_gguf(const fs::path& path) {
  return is_gguf_file(path) || (path.extension() == ".gguf" && !fs::is_directory(path));
}

bool has_tokenizer_files(const fs::path& folder) {
  return file_exists(folder / "tokenizer.json") || file_exists(folder / "tokenizer.model") ||
         file_exists(folder / "vocab.json");
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

Checkpoint::Checkpoint(const fs::path& path) : path_(path) {
  if (!file_exists(path)) fail("{}: no such file or folder", path.string());
  if (leads_to_gguf(path)) {
    open_gguf();
  } else if (fs::is_directory(path)) {
    open_folder();
  } else {
    const MappedFile file(path);  // it may be a pointer to another
    fail("{}: is neither a folder nor a GGUF file (it does not begin with \"GGUF\")",
         path.string());
  }
}

void Checkpoint::open_folder() {
  const fs::path config_path = path_ / "config.json";
  if (!file_exists(config_path)) fail("{}: no config.json in this folder", path_.string());
  config_origin_ = config_path.string();
  config_ = read_json_file(config_path);
  const JsonObject config(config_, config_origin_);
  const Architecture& architecture = find_architecture(config);
  spec_ = architecture.make_spec(config);
  spec_.architecture = architecture.name;
  read_quantization(config);
  const fs::path generation_path = path_ / "generation_config.json";
  if (file_exists(generation_path)) {
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
  if (!foreign_) packed_layouts_ = read_quantization_config(*quantization, spec_);
}

CheckpointTensor Checkpoint::tensor(const std::string& name,
                                    const std::vector<std::int64_t>& shape) const {
  std::optional<CheckpointTensor> found = source_->find(name);
  // Where the model was saved without its head, names lack its prefix, as in OPT's own checkpoints.
  constexpr std::string_view kPrefix = "model.";
  if (!found && name.starts_with(kPrefix)) found = source_->find(name.substr(kPrefix.size()));
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
  const bool tied = spec_.tied_head && linear.name == spec_.head.name;
  return float_tensor((tied ? spec_.embedding : linear.name) + ".weight", {linear.out, linear.in});
}

std::optional<PackedTensors> Checkpoint::packed_weight(const LinearSpec& linear) const {
  const auto found = packed_layouts_.find(linear.name);
  if (found == packed_layouts_.end()) return std::nullopt;
  PackedTensors tensors{.layout = found->second, .codes = {}, .scales = {}, .zeros = {}};
  CheckpointTensor* places[] = {&tensors.codes, &tensors.scales, &tensors.zeros};
  CheckpointTensor** place = places;
  for (const PackedPart& part : packed_parts(tensors.layout)) {
    **place++ = packed_part(*this, linear.name + part.suffix, part.dtype, part.shape);
  }
  return tensors;
}

std::optional<ForeignLayer> Checkpoint::foreign_weight(const LinearSpec& linear) const {
  if (is_gguf()) {
    // A tied head is the embedding, whose rows are looked up as floats: both are.
    if (spec_.tied_head && linear.name == spec_.head.name) return std::nullopt;
    return gguf_integers(dense_weight(linear));
  }
  if (!foreign_) return std::nullopt;
  return foreign_->find(*source_, path_.string(), linear);
}

std::optional<PackedLayout> Checkpoint::layout_of(const LinearSpec& linear) const {
  if (const auto packed = packed_weight(linear)) return packed->layout;
  const auto foreign = foreign_weight(linear);
  const auto plan = foreign ? plan_repack(foreign->matrix) : std::nullopt;
  return plan ? std::optional(plan->layout) : std::nullopt;
}

bool Checkpoint::has_tokenizer() const {
  return is_gguf() ? gguf_->metadata().has("tokenizer.ggml.tokens") : has_tokenizer_files(path_);
}

Tokenizer Checkpoint::load_tokenizer() const {
  return is_gguf() ? Tokenizer::from_gguf(gguf_vocab(gguf_->metadata())) : Tokenizer::load(path_);
}

Tokenizer load_tokenizer(const fs::path& path) {
  if (!file_exists(path)) fail("{}: no such file or folder", path.string());
  if (leads_to_gguf(path)) return Tokenizer::from_gguf(gguf_vocab(open_gguf_metadata(path)));
  return Tokenizer::load(path);
}

}  // namespace nibble
