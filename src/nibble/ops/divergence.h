// How far one prediction is from another.
#pragma once

#include <span>

#include "nibble/kernels/kernel_set.h"

namespace nibble {

/// The Kullback-Leibler divergence sum p (ln p - ln q) in nats, p and q being the softmax of two
/// rows of logits, (vocab) each. `scratch`: (vocab).
double kl_divergence(const KernelSet& kernels, std::span<const float> reference,
                     std::span<const float> logits, float* scratch);

}  // namespace nibble
