#include "nibble/ops/compute.h"

namespace nibble {

const char* activation_type_name(ActivationType type) {
  switch (type) {
    case ActivationType::kBF16:
      return "bf16";
    case ActivationType::kF32:
      return "f32";
    case ActivationType::kInt8:
      return "int8";
  }
  return "";
}

Compute::Compute(const KernelSet& kernels, ThreadPool& pool, ActivationType activations)
    : kernels_(&kernels),
      pool_(&pool),
      activations_(activations),
      thread_scratch_(static_cast<std::size_t>(pool.size())) {}

}  // namespace nibble
