// Where a model's tensors come from, under the names that Hugging Face gives them: safetensors
// files, pytorch_model.bin or a GGUF file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/tensor_view.h"

namespace nibble {

class GgufModel;
struct GgufModule;

/// A tensor of a checkpoint.
struct CheckpointTensor {
  std::string name;
  TensorView view;
  /// If not 0, the rows of each of so many heads lie as GGUF's converter orders them for RoPE on
  /// neighbours: row 2 j + s of a head of D rows is row s D/2 + j of the Hugging Face checkpoint.
  std::int64_t interleaved_heads = 0;
  /// What the numbers of the file have more than those of the Hugging Face checkpoint.
  float added = 0;
};

/// Rows first .. first + count - 1 of the tensor in Hugging Face's order, as float32. `tensor` is
/// one of Checkpoint::float_tensor(), which refuses what is not a number and names the file.
/// out: (count, cols).
void read_rows(const CheckpointTensor& tensor, std::int64_t first, std::int64_t count, float* out);

/// The whole of a tensor of one dimension, likewise. out: (elements).
void read_vector(const CheckpointTensor& tensor, std::span<float> out);

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// Names of all tensors, in the order of the file.
  virtual std::vector<std::string> names() const = 0;
  /// The tensor `name`, if there is one; in a folder a leading "model." may be missing, and the
  /// result says so. What it views lives as long as the source.
  virtual std::optional<CheckpointTensor> find(const std::string& name) const = 0;
  /// Gives back the memory of bytes that will not be read again soon.
  virtual void drop(std::span<const std::byte> bytes) const = 0;
};

/// The safetensors files of a folder or, where it has none, its pytorch_model.bin. Throws Error as
/// SafetensorsModel and TorchBinModel do.
std::unique_ptr<TensorSource> open_folder_source(const std::filesystem::path& folder);

/// The tensors of a GGUF model; `modules` says what they are in a Hugging Face checkpoint, others
/// are left out.
std::unique_ptr<TensorSource> make_gguf_source(std::shared_ptr<const GgufModel> model,
                                               const std::vector<GgufModule>& modules);

}  // namespace nibble
