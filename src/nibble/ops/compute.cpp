#include "nibble/ops/compute.h"

#include <utility>

#include "nibble/ops/cpu_device.h"

namespace nibble {

Compute::Compute(const KernelSet& kernels, int threads, Topology topology)
    : kernels_(&kernels), pool_(threads, std::move(topology)), device_(&cpu_device()) {
  thread_scratch_.resize(static_cast<std::size_t>(pool_.size()));
}

}  // namespace nibble
