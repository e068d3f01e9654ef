#include "nibble/ops/compute.h"

namespace nibble {

Compute::Compute(const KernelSet& kernels, int threads, ActivationType activations)
    : kernels_(&kernels), pool_(threads), activations_(activations) {
  thread_scratch_.resize(static_cast<std::size_t>(pool_.size()));
}

}  // namespace nibble
