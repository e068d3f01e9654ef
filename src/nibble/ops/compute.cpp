#include "nibble/ops/compute.h"

#include "nibble/ops/cpu_device.h"

namespace nibble {

Compute::Compute(const KernelSet& kernels, ThreadPool& pool)
    : kernels_(&kernels),
      pool_(&pool),
      device_(&cpu_device()),
      thread_scratch_(static_cast<std::size_t>(pool.size())) {}

}  // namespace nibble
