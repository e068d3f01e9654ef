// A packed checkpoint as what its weights stand for.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/temporary_folder.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/kernels/select.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/weight_loader.h"
#include "weights/weight_values.h"

namespace nibble::testing {

/// A folder with the same model, dense in float32: packed layers dequantized.
inline void write_dequantized(const std::filesystem::path& quantized,
                              const std::filesystem::path& out) {
  const Checkpoint checkpoint(quantized);
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  const WeightLoader loader(checkpoint, compute, DType::kF32);
  const ModelSpec& spec = checkpoint.spec();
  std::map<std::string, std::pair<std::vector<std::int64_t>, std::vector<float>>> tensors;
  for (const LinearSpec& linear : spec.linears()) {
    const Linear layer = loader.linear(linear);
    tensors[linear.name + ".weight"] = {{linear.out, linear.in},
                                        test::weight_values(layer.weight.view)};
    if (linear.bias) tensors[linear.name + ".bias"] = {{linear.out}, layer.bias};
  }
  if (const auto table = checkpoint.packed_weight(spec.embedding_matrix())) {
    tensors[spec.embedding + ".weight"] = {{spec.vocab, spec.embedding_width},
                                           test::weight_values(table->view())};
  }
  for (const std::string& name : checkpoint.tensors().names()) {
    if (tensors.contains(name) || name.find(".weight_") != std::string::npos) continue;
    const CheckpointTensor tensor = checkpoint.tensors().find(name).value();
    std::vector<float> values(static_cast<std::size_t>(tensor.view.elements()));
    read_rows(tensor, 0, tensor.view.rows(), values.data());
    tensors[name] = {tensor.view.shape, values};
  }
  std::filesystem::create_directory(out);
  std::vector<TensorDeclaration> declarations;
  for (const auto& [name, tensor] : tensors) {
    declarations.push_back({name, DType::kF32, tensor.first});
  }
  SafetensorsWriter writer(out / "model.safetensors", declarations);
  for (const auto& [name, tensor] : tensors) {
    writer.append(name, std::as_bytes(std::span(tensor.second)));
  }
  writer.commit();
  Json config = checkpoint.config();
  config.erase("quantization_config");
  config["tie_word_embeddings"] = false;  // the head has weights of its own now
  write_file(out / "config.json", config.dump());
}

}  // namespace nibble::testing
