#include "nibble/ops/compute.h"

#include <utility>

#include "nibble/ops/cpu_device.h"

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

Compute::Compute(const KernelSet& kernels, int threads, ActivationType activations,
                 Topology topology)
    : kernels_(&kernels),
      pool_(threads, std::move(topology)),
      activations_(activations),
      device_(&cpu_device()) {
  thread_scratch_.resize(static_cast<std::size_t>(pool_.size()));
}

}  // namespace nibble
