// A model on disk, ready to be read: a Hugging Face folder, Nibble's own quantized folder or a GGUF
// file, all seen as one thing. Opening maps files and reads configs; no weight is touched.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/models/foreign/quantization.h"
#include "nibble/models/model_spec.h"
#include "nibble/models/quantization_config.h"
#include "nibble/models/tensor_source.h"
#include "nibble/tokenizer/tokenizer.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

class GgufModel;

/// A packed linear layer of a Nibble checkpoint (docs/formats.md).
struct PackedTensors {
  WeightLayout layout;
  std::vector<CheckpointTensor> parts;  // in the order of WeightView::parts

  /// The weights where they lie in the file.
  WeightView view() const;
};

class Checkpoint {
 public:
  /// `path`: a folder or a .gguf file (see locate_model for names). Throws Error naming file and
  /// key: no such folder, an unknown architecture, a config or tensor file that is not right.
  explicit Checkpoint(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  bool is_gguf() const { return gguf_ != nullptr; }
  /// What is read: the folder, or the parts of a GGUF model.
  std::vector<std::filesystem::path> source_paths() const;
  /// config.json; for a GGUF file the one it would have.
  const Json& config() const { return config_; }
  const ModelSpec& spec() const { return spec_; }
  const TensorSource& tensors() const { return *source_; }

  /// The tensor `name`, which must exist with this shape (else Error naming both); a leading
  /// "model." may be missing in the file.
  CheckpointTensor tensor(const std::string& name, const std::vector<std::int64_t>& shape) const;
  /// The same, which must hold floating point numbers too: what read_rows() takes.
  CheckpointTensor float_tensor(const std::string& name,
                                const std::vector<std::int64_t>& shape) const;
  /// The weight tensor that a dense linear layer reads: the embedding's for a tied head.
  CheckpointTensor dense_weight(const LinearSpec& linear) const;
  /// The parts of a linear layer, or of ModelSpec::embedding_matrix(), that config.json says is
  /// packed, nothing for a dense one; those of a packed embedding for a head that is tied to it and
  /// has none of its own. Throws Error if they are missing or of other shapes than the layout
  /// gives.
  std::optional<PackedTensors> packed_weight(const LinearSpec& linear) const;
  /// Whether the head reads tensors of its own and not the embedding's.
  bool has_own_head() const;
  /// The parts of a linear layer that another tool quantized, nothing for others. Throws Error as
  /// ForeignQuantization::find does.
  std::optional<ForeignLayer> foreign_weight(const LinearSpec& linear) const;
  /// The same of an embedding or a linear layer that is read row by row as floats.
  std::optional<ForeignRows> foreign_rows(const LinearSpec& module) const;
  /// How a quantized layer lies in memory once it is loaded; nothing for one that is dense then.
  /// Looks at no weight (repacked_layout() of weights/repack.h says what it looks at).
  std::optional<WeightLayout> layout_of(const LinearSpec& linear) const;
  /// What the input of a linear layer is rounded to: `asked` for, but that where this is int8, or
  /// nothing, the checkpoint's own word on the layer goes first; bfloat16 if nobody says anything,
  /// and for the head, as its input's rounding goes straight into the logits, in place of int8.
  ActivationType activations(const LinearSpec& linear, std::optional<ActivationType> asked) const;
  /// Whether config.json says that any layer is quantized.
  bool is_quantized() const { return foreign_ || !packed_layouts_.empty(); }

  /// Whether there is a tokenizer to load.
  bool has_tokenizer() const;
  /// Throws Error if the checkpoint has no tokenizer files.
  Tokenizer load_tokenizer() const;

 private:
  void open_folder();
  void open_gguf();
  void read_quantization(const JsonObject& config);
  void read_own_quantization(const JsonObject& quantization);
  void read_quantization_files();
  std::optional<CheckpointTensor> rows_of(const LinearSpec& module) const;
  void untie_head();

  std::filesystem::path path_;
  std::string config_origin_;
  Json config_;
  ModelSpec spec_;
  std::shared_ptr<const GgufModel> gguf_;
  std::unique_ptr<TensorSource> source_;
  PackedLayouts packed_layouts_;
  LayerActivations layer_activations_;
  std::unique_ptr<const ForeignQuantization> foreign_;
};

/// The folder or file that a user means by `model`: a path, or a name ("org/name" or "name") under
/// $NIBBLE_MODELS (default ~/.cache/nibble) or in the Hugging Face cache. Throws Error saying where
/// it looked.
std::filesystem::path locate_model(const std::string& model);

/// $NIBBLE_MODELS, or ~/.cache/nibble: where models are looked up by name.
std::filesystem::path model_folder();

/// The tokenizer of a model that need have no weights: a folder with tokenizer files, a GGUF file
/// with a vocabulary.
Tokenizer load_tokenizer(const std::filesystem::path& path);

}  // namespace nibble
