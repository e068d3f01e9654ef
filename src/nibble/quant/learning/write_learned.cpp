#include "nibble/quant/learning/write_learned.h"

#include <map>
#include <string>
#include <vector>

#include "nibble/core/interrupt.h"
#include "nibble/quant/model_folder.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

std::vector<std::byte> bytes_of(std::span<const BFloat16> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

/// What replaces tensors of the checkpoint, by their names.
std::map<std::string, std::vector<std::byte>> replacements(const QuantizePlan& plan,
                                                           Distillation& learned) {
  std::map<std::string, std::vector<std::byte>> found;
  for (const auto& [layer, scales] : learned.scales()) {
    found[layer + kScalesSuffix] = bytes_of(scales);
  }
  const DType dtype = plan.options.dtype;
  for (const auto& [name, values] : learned.norms()) {
    std::vector<std::byte>& stored = found[name];
    stored.resize(values.size() * static_cast<std::size_t>(dtype_layout(dtype).bytes));
    store_as_dtype(dtype, values, stored.data());
  }
  return found;
}

}  // namespace

void write_learned(const Checkpoint& quantized, const QuantizePlan& plan, Distillation& learned,
                   const std::filesystem::path& file) {
  const auto replaced = replacements(plan, learned);
  const std::vector<TensorDeclaration> tensors = declarations(quantized.spec(), plan);
  SafetensorsWriter writer(file, tensors, kCheckpointMetadata);
  for (const TensorDeclaration& tensor : tensors) {
    check_interrupt();
    const auto found = replaced.find(tensor.name);
    if (found != replaced.end()) {
      writer.write_tensor(tensor.name, found->second);
    } else {
      const TensorView view = quantized.tensor(tensor.name, tensor.shape).view;
      writer.write_tensor(tensor.name, {view.data, view.bytes});
    }
  }
  writer.commit();
}

}  // namespace nibble
