// Where a model's tensors come from, under the names that Hugging Face gives them: safetensors
// files, pytorch_model.bin or a GGUF file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "nibble/core/tensor_view.h"

namespace nibble {

class GgufModel;
struct GgufModule;

/// Rows of numbers that are made of more than one tensor: integers or small floats, and scales.
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// Rows first .. first + count - 1 as float32. out: (count, cols).
  virtual void read(std::int64_t first, std::int64_t count, float* out) const = 0;
};

/// A tensor of a checkpoint.
struct CheckpointTensor {
  std::string name;
  TensorView view;
  /// If not 0, the rows of each of so many heads lie as GGUF's converter orders them for RoPE on
  /// neighbours: row 2 j + s of a head of D rows is row s D/2 + j of the Hugging Face checkpoint.
  std::int64_t interleaved_heads = 0;
  /// What the numbers of the file have more than those of the Hugging Face checkpoint.
  float added = 0;
  /// If there is one, what read_rows() reads; of `view` only the shape holds then.
  std::shared_ptr<const RowSource> rows = nullptr;
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
  std::optional<CheckpointTensor> find(const std::string& name) const;
  bool contains(const std::string& name) const { return look_up(name).has_value(); }
  /// Gives back the memory of bytes that will not be read again soon.
  void drop(std::span<const std::byte> bytes) const;
  /// Says that of these bytes few will be read, here and there.
  void expect_scattered_reads(std::span<const std::byte> bytes) const;

  /// The tensors that find() was never asked for, as the file calls them; with those that the file
  /// has and names() does not know.
  std::vector<std::string> unread() const;

 protected:
  virtual std::optional<CheckpointTensor> look_up(const std::string& name) const = 0;
  /// The file that bytes lie in, if they lie in one.
  virtual const MappedFile* file_of(std::span<const std::byte> bytes) const = 0;
  virtual std::string name_in_file(const std::string& name) const { return name; }
  virtual std::vector<std::string> unknown_names() const { return {}; }

 private:
  mutable std::mutex mutex_;
  mutable std::unordered_set<std::string> found_;
};

/// The safetensors files of a folder or, where it has none, its pytorch_model.bin. Throws Error as
/// SafetensorsModel and TorchBinModel do.
std::unique_ptr<TensorSource> open_folder_source(const std::filesystem::path& folder);

/// The tensors of a GGUF model; `modules` says what they are in a Hugging Face checkpoint, others
/// are left out.
std::unique_ptr<TensorSource> make_gguf_source(std::shared_ptr<const GgufModel> model,
                                               const std::vector<GgufModule>& modules);

}  // namespace nibble
