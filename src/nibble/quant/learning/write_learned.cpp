#include "nibble/quant/learning/write_learned.h"

#include <map>
#include <string>
#include <vector>

#include "nibble/core/interrupt.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

std::vector<std::byte> bytes_of(std::span<const BFloat16> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

/// What replaces tensors of the checkpoint, by their names.
std::map<std::string, std::vector<std::byte>> replacements(const FolderContents& contents,
                                                           Distillation& learned) {
  std::map<std::string, std::vector<std::byte>> found;
  for (const auto& [layer, scales] : learned.scales()) {
    found[layer + kScalesSuffix] = bytes_of(scales);
  }
  const RewrittenParameters norms = learned.norms();
  for (const TensorDeclaration& tensor : contents.tensors) {
    const auto norm = norms.find(tensor.name);
    if (norm == norms.end()) continue;
    std::vector<std::byte>& stored = found[tensor.name];
    stored.resize(norm->second.size() * static_cast<std::size_t>(dtype_layout(tensor.dtype).bytes));
    store_as_dtype(tensor.dtype, norm->second, stored.data());
  }
  return found;
}

}  // namespace

void write_learned(const Checkpoint& quantized, const FolderContents& contents,
                   Distillation& learned, CheckpointWriter& to) {
  const auto replaced = replacements(contents, learned);
  for (const TensorDeclaration& tensor : contents.tensors) {
    check_interrupt();
    const auto found = replaced.find(tensor.name);
    if (found != replaced.end()) {
      to.tensors().append(tensor.name, found->second);
    } else {
      const TensorView view = quantized.tensor(tensor.name, tensor.shape).view;
      to.tensors().append(tensor.name, {view.data, view.bytes});
    }
  }
}

}  // namespace nibble
