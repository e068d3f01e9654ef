#include "nibble/models/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/mapped_file.h"
#include "nibble/formats/gguf_split.h"
#include "nibble/models/architecture.h"
#include "nibble/models/gguf_model.h"
#include "nibble/models/gguf_names.h"
#include "nibble/models/quantization_config.h"
#include "nibble/models/tensor_report.h"
#include "nibble/weights/dequantize.h"
#include "nibble/weights/packed_rows.h"
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

/// Rows of a packed embedding.
class PackedRows : public RowSource {
 public:
  explicit PackedRows(const WeightView& view) : view_(view) {}
  void read(std::int64_t first, std::int64_t count, float* out) const override {
    const auto cols = static_cast<std::size_t>(view_.cols);
    for (std::int64_t row = first; row < first + count; ++row, out += cols) {
      read_packed_row(view_, row, {out, cols});
    }
  }

 private:
  WeightView view_;
};

}  // namespace

WeightView PackedTensors::view() const {
  WeightView out{layout, {}};
  for (std::size_t i = 0; i < parts.size(); ++i) out.parts[i] = parts[i].view.data;
  return out;
}

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
  spec_ = spec_of_config(config);
  read_quantization(config);
  const fs::path generation_path = path_ / "generation_config.json";
  if (file_exists(generation_path)) {
    const Json generation = read_json_file(generation_path);
    std::vector<std::int32_t> eos = read_eos(JsonObject(generation, generation_path.string()));
    if (!eos.empty()) spec_.eos = std::move(eos);
  }
  source_ = open_folder_source(path_);
  if (!foreign_ && packed_layouts_.empty()) read_quantization_files();
  untie_head();
}

/// Where a tied head has weights of its own in the file, they win, as in transformers and
/// llama.cpp: a fine-tuned one was merged in, say.
void Checkpoint::untie_head() {
  const std::string name = spec_.head.name + ".weight";
  if (!spec_.tied_head || !source_->contains(name)) return;
  const auto head = source_->find(name);
  const auto embedding = source_->find(spec_.embedding + ".weight");
  if (!embedding && !foreign_) return;  // held as the head
  if (embedding) {
    const TensorView& a = head->view;
    const TensorView& b = embedding->view;
    const bool same = a.dtype == b.dtype && a.shape == b.shape &&
                      (a.data == b.data || std::memcmp(a.data, b.data, a.bytes) == 0);
    if (same) return;
  }
  warn("{}: the head is tied to the embedding, but \"{}\" has values of its own, which are taken",
       path_.string(), name);
  spec_.tied_head = false;
  config_["tie_word_embeddings"] = false;
}

void Checkpoint::open_gguf() {
  gguf_ = std::make_shared<const GgufModel>(path_);
  const std::string origin = path_.string();
  const Architecture& architecture =
      find_gguf_architecture(gguf_->metadata().get_string("general.architecture"), origin);
  config_ = gguf_config(*gguf_, architecture);
  // Which modules have biases is seen from the file, one by one.
  Json bare = config_;
  bare["attention_bias"] = bare["mlp_bias"] = false;
  spec_ = architecture.make_spec(JsonObject(bare, origin));
  spec_.architecture = architecture.name;
  source_ = make_gguf_source(gguf_, gguf_modules(spec_, architecture));
  const auto has_bias = [&](const LinearSpec& linear) {
    for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
      if (source_->contains(block_name(linear.name, layer) + ".bias")) return true;
    }
    return false;
  };
  for (LinearSpec* linear : {&spec_.q, &spec_.k, &spec_.v, &spec_.o, &spec_.up, &spec_.down}) {
    linear->bias |= has_bias(*linear);
  }
  if (spec_.gate) spec_.gate->bias |= has_bias(*spec_.gate);
}

std::vector<fs::path> Checkpoint::source_paths() const {
  if (!is_gguf()) return {path_};
  std::vector<fs::path> parts;
  for (const GgufFile& file : gguf_->files()) parts.push_back(file.file().path());
  return parts;
}

void Checkpoint::read_quantization(const JsonObject& config) {
  // What llm-compressor wrote until 0.2 under the second name need not name its method.
  auto quantization = config.find_object("quantization_config");
  std::string method;
  if (quantization) {
    // modelopt named itself in another place at first.
    const bool named = quantization->has("quant_method") || !quantization->has("quant_library");
    method = quantization->get_string(named ? "quant_method" : "quant_library");
  } else {
    quantization = config.find_object("compression_config");
    if (!quantization) return;
    method = quantization->find_string("quant_method").value_or("compressed-tensors");
  }
  foreign_ = read_foreign_quantization(*quantization, method);
  if (!foreign_) read_own_quantization(*quantization);
}

/// Nibble's own way of saying it, which is compressed-tensors' (docs/formats.md).
void Checkpoint::read_own_quantization(const JsonObject& quantization) {
  packed_layouts_ = read_quantization_config(quantization, spec_);
  layer_activations_ = read_layer_activations(quantization);
}

/// Where config.json says nothing: the file that a tool wrote in its place. Is heeded only where
/// there are quantized tensors, as one may lie beside the weights that were quantized.
void Checkpoint::read_quantization_files() {
  const std::vector<std::string> names = source_->names();
  const bool quantized = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.ends_with(".qweight") || name.ends_with(".weight_packed") ||
           name.ends_with(".weight_scale");
  });
  if (!quantized) return;
  struct Place {
    const char* file;
    const char* method;  // where the file names none
  };
  for (const Place place :
       {Place{"quantization_config.json", "auto-round"}, Place{"quantize_config.json", "gptq"},
        Place{"quant_config.json", "awq"}, Place{"hf_quant_config.json", "modelopt"}}) {
    const fs::path file = path_ / place.file;
    if (!file_exists(file)) continue;
    const Json json = read_json_file(file);
    const JsonObject config(json, file.string());
    foreign_ = read_foreign_quantization(config,
                                         config.find_string("quant_method").value_or(place.method));
    if (foreign_) return;
  }
}

CheckpointTensor Checkpoint::tensor(const std::string& name,
                                    const std::vector<std::int64_t>& shape) const {
  std::optional<CheckpointTensor> found = source_->find(name);
  if (!found && spec_.tied_head && name == spec_.embedding + ".weight") {  // held as the head
    found = source_->find(spec_.head.name + ".weight");
  }
  if (!found) {
    fail("{}: tensor \"{}\" is missing, expected shape {}{}", path_.string(), name,
         shape_to_string(shape), describe_missing(*source_, name));
  }
  if (found->view.shape != shape) {
    fail("{}: tensor \"{}\" has shape {}, expected {}", path_.string(), name,
         shape_to_string(found->view.shape), shape_to_string(shape));
  }
  return *std::move(found);
}

CheckpointTensor Checkpoint::float_tensor(const std::string& name,
                                          const std::vector<std::int64_t>& shape) const {
  if (shape.size() == 2 && name.ends_with(".weight")) {
    if (auto rows = rows_of({name.substr(0, name.rfind('.')), shape[0], shape[1]})) {
      return *std::move(rows);
    }
  }
  CheckpointTensor found = tensor(name, shape);
  if (!can_dequantize(found.view.dtype)) {
    fail(
        "{}: tensor \"{}\" has dtype {}, which config.json does not explain, expected floating "
        "point numbers of 16 bits or more",
        path_.string(), name, dtype_name(found.view.dtype));
  }
  return found;
}

/// The weight of a module that is read by rows which several tensors make: the embedding that we
/// packed, and what another tool quantized.
std::optional<CheckpointTensor> Checkpoint::rows_of(const LinearSpec& module) const {
  CheckpointTensor tensor{.name = module.name + ".weight", .view = {}};
  if (auto foreign = foreign_rows(module)) {
    tensor.view = std::move(foreign->stored);
    tensor.rows = std::move(foreign->rows);
  } else if (const auto packed =
                 module.name == spec_.embedding ? packed_weight(module) : std::nullopt) {
    tensor.view = packed->parts[0].view;
    tensor.rows = std::make_shared<PackedRows>(packed->view());
  } else {
    return std::nullopt;
  }
  tensor.view.shape = {module.out, module.in};
  return tensor;
}

CheckpointTensor Checkpoint::dense_weight(const LinearSpec& linear) const {
  const std::string& module = spec_.is_tied(linear) ? spec_.embedding : linear.name;
  return float_tensor(module + ".weight", {linear.out, linear.in});
}

std::optional<ForeignRows> Checkpoint::foreign_rows(const LinearSpec& module) const {
  if (!foreign_) return std::nullopt;
  return foreign_->find_rows(*source_, path_.string(), module, module.name == spec_.embedding);
}

std::optional<PackedTensors> Checkpoint::packed_weight(const LinearSpec& linear) const {
  auto found = packed_layouts_.find(linear.name);
  if (found == packed_layouts_.end() && spec_.is_tied(linear)) {
    found = packed_layouts_.find(spec_.embedding);
  }
  if (found == packed_layouts_.end()) return std::nullopt;
  PackedTensors tensors{.layout = found->second, .parts = {}};
  for (const PartLayout& part : codec_of(tensors.layout.format).parts(tensors.layout)) {
    tensors.parts.push_back(packed_part(*this, found->first + part.suffix, part.dtype,
                                        part.tensor_shape(block_count(tensors.layout))));
  }
  return tensors;
}

bool Checkpoint::has_own_head() const {
  return !spec_.tied_head || packed_layouts_.contains(spec_.head.name) ||
         foreign_weight(spec_.head).has_value();
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
  if (!file_exists(path)) fail("{}: no such file or folder", path.string());
  if (leads_to_gguf(path)) return Tokenizer::from_gguf(gguf_vocab(open_gguf_metadata(path)));
  return Tokenizer::load(path);
}

}  // namespace nibble
