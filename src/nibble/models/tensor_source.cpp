#include "nibble/models/tensor_source.h"

#include <array>
#include <map>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/gguf.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/torch_bin.h"
#include "nibble/models/architecture.h"
#include "nibble/weights/dequantize.h"

namespace nibble {
namespace {

/// The files of a folder: SafetensorsModel or TorchBinModel.
template <typename Model>
class FolderSource : public TensorSource {
 public:
  explicit FolderSource(const std::filesystem::path& folder) : model_(folder) {}

  std::vector<std::string> names() const override { return model_.names(); }
  std::optional<CheckpointTensor> find(const std::string& name) const override {
    const TensorView* view = model_.find(name);
    if (view == nullptr) return std::nullopt;
    return CheckpointTensor{name, *view};
  }
  void drop(std::span<const std::byte> bytes) const override { model_.drop(bytes); }

 private:
  Model model_;
};

// GGUF's names and Hugging Face's: of tensors outside the blocks, and of those of block N, which
// begin with "blk.N." and "model.layers.N.".
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kOuterNames = {{
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kBlockNames = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

/// Hugging Face's name of the GGUF tensor `name`, "" where it has none.
std::string hugging_face_name(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return "";
  const std::string_view module = name.substr(0, dot);
  const std::string_view kind = name.substr(dot);  // ".weight" or ".bias"
  for (const auto& [gguf, hf] : kOuterNames) {
    if (module == gguf) return fmt::format("{}{}", hf, kind);
  }
  if (!module.starts_with("blk.")) return "";
  const std::string_view rest = module.substr(4);
  const std::size_t end = rest.find('.');
  if (end == std::string_view::npos) return "";
  for (const auto& [gguf, hf] : kBlockNames) {
    if (rest.substr(end + 1) == gguf) {
      return fmt::format("model.layers.{}.{}{}", rest.substr(0, end), hf, kind);
    }
  }
  return "";
}

class GgufSource : public TensorSource {
 public:
  GgufSource(std::shared_ptr<const GgufFile> file, bool permutes_qk, std::int64_t n_heads,
             std::int64_t n_kv_heads)
      : file_(std::move(file)) {
    for (const TensorEntry& entry : file_->entries()) {
      std::string name = hugging_face_name(entry.name);
      if (name.empty()) continue;
      Place place{entry.name, 0};
      if (permutes_qk && name.find("self_attn.q_proj") != std::string::npos) place.heads = n_heads;
      if (permutes_qk && name.find("self_attn.k_proj") != std::string::npos)
        place.heads = n_kv_heads;
      names_.push_back(name);
      places_.emplace(std::move(name), std::move(place));
    }
  }

  std::vector<std::string> names() const override { return names_; }
  std::optional<CheckpointTensor> find(const std::string& name) const override {
    const auto it = places_.find(name);
    if (it == places_.end()) return std::nullopt;
    const TensorView& view = file_->get(it->second.gguf_name);
    return CheckpointTensor{name, view, it->second.heads};
  }
  void drop(std::span<const std::byte> bytes) const override { file_->file().drop(bytes); }

 private:
  struct Place {
    std::string gguf_name;
    std::int64_t heads;
  };
  std::shared_ptr<const GgufFile> file_;
  std::vector<std::string> names_;
  std::map<std::string, Place> places_;  // by Hugging Face's name
};

}  // namespace

void read_rows(const CheckpointTensor& tensor, std::int64_t first, std::int64_t count, float* out) {
  if (!can_dequantize(tensor.view.dtype)) {
    fail("tensor \"{}\" has dtype {}, expected floating point numbers", tensor.name,
         dtype_name(tensor.view.dtype));
  }
  if (tensor.interleaved_heads == 0) {
    dequantize_rows(tensor.view, first, count, out);
    return;
  }
  const TensorView& view = tensor.view;
  const std::int64_t head_rows = view.rows() / tensor.interleaved_heads;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t head = (first + i) / head_rows;
    const std::int64_t row = (first + i) % head_rows;
    const std::int64_t half = head_rows / 2;
    const std::int64_t stored = head * head_rows + 2 * (row % half) + row / half;
    dequantize_rows(view, stored, 1, out + i * view.cols());
  }
}

void read_vector(const CheckpointTensor& tensor, std::span<float> out) {
  const bool blocks = dtype_layout(tensor.view.dtype).block > 1;
  if (tensor.interleaved_heads == 0) {
    read_rows(tensor, 0, 1, out.data());
  } else if (blocks) {
    fail(
        "tensor \"{}\" has dtype {}, expected one without blocks: its elements are to be reordered",
        tensor.name, dtype_name(tensor.view.dtype));
  } else {
    CheckpointTensor column = tensor;  // rows of one element, to which a row order applies
    column.view.shape.push_back(1);
    read_rows(column, 0, static_cast<std::int64_t>(out.size()), out.data());
  }
}

std::unique_ptr<TensorSource> open_folder_source(const std::filesystem::path& folder) {
  if (has_model_files<SafetensorsFile>(folder)) {
    return std::make_unique<FolderSource<SafetensorsModel>>(folder);
  }
  if (has_model_files<TorchBinFile>(folder)) {
    return std::make_unique<FolderSource<TorchBinModel>>(folder);
  }
  fail("{}: no weights found; looked for {}, {}, {} and {}", folder.string(),
       SafetensorsFile::kSingle, SafetensorsFile::kIndex, TorchBinFile::kSingle,
       TorchBinFile::kIndex);
}

std::unique_ptr<TensorSource> make_gguf_source(std::shared_ptr<const GgufFile> file,
                                               const Architecture& architecture,
                                               std::int64_t n_heads, std::int64_t n_kv_heads) {
  return std::make_unique<GgufSource>(std::move(file), architecture.gguf_permutes_qk, n_heads,
                                      n_kv_heads);
}

}  // namespace nibble
