// A copy of a model's folder whose tensors and config a test changes.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/temporary_folder.h"
#include "nibble/core/json.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"

namespace nibble::testing {

class EditedModel {
 public:
  explicit EditedModel(const std::filesystem::path& source) {
    std::filesystem::copy(source, folder_.path());
    config_ = read_json_file(source / "config.json");
    const SafetensorsModel model(source);
    for (const std::string& name : model.names()) {
      const TensorView& view = model.get(name);
      tensors_[name] = {
          view.dtype, view.shape, {reinterpret_cast<const char*>(view.data), view.bytes}};
    }
  }

  Json& config() { return config_; }
  void remove(const std::string& name) { tensors_.erase(name); }
  void copy(const std::string& from, const std::string& to) { tensors_[to] = tensors_.at(from); }
  void add_ones(const std::string& name, const std::vector<std::int64_t>& shape) {
    const float one = 1;
    std::string bytes;
    for (std::int64_t bytes_left = checked_tensor_bytes(DType::kF32, shape); bytes_left > 0;
         bytes_left -= 4) {
      bytes.append(reinterpret_cast<const char*>(&one), 4);
    }
    tensors_[name] = {DType::kF32, shape, bytes};
  }
  /// The elements of a tensor as they are stored.
  std::string& bytes(const std::string& name) { return tensors_.at(name).bytes; }

  /// Writes the folder anew; gives it.
  std::filesystem::path write() {
    write_file(folder_ / "config.json", config_.dump());
    std::vector<TensorDeclaration> declarations;
    for (const auto& [name, tensor] : tensors_) {
      declarations.push_back({name, tensor.dtype, tensor.shape});
    }
    SafetensorsWriter writer(folder_ / "model.safetensors", declarations);
    for (const auto& [name, tensor] : tensors_) {
      writer.append(name, std::as_bytes(std::span(tensor.bytes)));
    }
    writer.commit();
    return folder_.path();
  }
  std::filesystem::path path() const { return folder_.path(); }

 private:
  struct Tensor {
    DType dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
  };
  TemporaryFolder folder_;
  Json config_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace nibble::testing
