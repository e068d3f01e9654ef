// Reads what torch.save writes of a model's state dict (pytorch_model.bin): the zip archive of
// PyTorch 1.6 and later, whose tensors are mapped where they lie, and the older file that is a row
// of pickles. The pickles are read as data (formats/pickle.h): tensors and ordinary containers
// only, nothing is run.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/buffer.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/pickle.h"
#include "nibble/formats/sharded_model.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {

/// One mapped file. What find() returns stays valid as long as this (moved or not).
class TorchBinFile {
 public:
  static constexpr const char* kSingle = "pytorch_model.bin";
  static constexpr const char* kIndex = "pytorch_model.bin.index.json";

  /// Maps the file and checks every tensor's sizes and strides against its storage, that against
  /// the file. Tensors may share storages. One that is not contiguous (a transposed view) is
  /// copied into memory of its own here; all copies together may not be larger than the file.
  /// Throws Error naming file and tensor or global.
  explicit TorchBinFile(const std::filesystem::path& path);

  const MappedFile& file() const { return file_; }
  /// All tensors of the state dict, in the order in which they lie in the file.
  const std::vector<TensorEntry>& entries() const { return tensors_.entries(); }
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return tensors_.contains(name); }
  /// The tensor `name`, or null.
  const TensorView* find(std::string_view name) const { return tensors_.find(name); }
  /// As find(), but a missing tensor is an Error.
  const TensorView& get(std::string_view name) const { return tensors_.get(name); }

 private:
  MappedFile file_;
  std::vector<Buffer> copies_;  // of tensors that are not contiguous in the file
  TensorTable tensors_;
};

/// Whether the file begins as torch.save's do, and no safetensors file does.
bool is_of_torch(const std::filesystem::path& path);

/// What torch.save writes of any other object made of containers, texts, numbers and tensors.
class TorchObject {
 public:
  /// As TorchBinFile, with the same checks of every tensor.
  explicit TorchObject(const std::filesystem::path& path);

  const Pickle& pickle() const { return pickle_; }
  /// The tensor that a value of the pickle is, or null if it is something else.
  const TensorView* tensor(PickleValue::Id id) const;

 private:
  MappedFile file_;
  Pickle pickle_;
  std::vector<Buffer> copies_;
  std::map<PickleValue::Id, TensorView> tensors_;
};

/// pytorch_model.bin, or the shards of pytorch_model.bin.index.json.
using TorchBinModel = ShardedModel<TorchBinFile>;

}  // namespace nibble
