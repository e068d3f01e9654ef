#include "nibble/ops/divergence.h"

#include <cstdint>

namespace nibble {

double kl_divergence(const KernelSet& kernels, std::span<const float> reference,
                     std::span<const float> logits, float* scratch) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  const double reference_lse = kernels.softmax(reference.data(), vocab, scratch);
  const double lse = kernels.log_sum_exp(logits.data(), vocab);
  double sum = 0;  // of p (reference logit - logit); the constants come in once
  for (std::size_t i = 0; i < logits.size(); ++i) {
    sum += static_cast<double>(scratch[i]) * (static_cast<double>(reference[i]) - logits[i]);
  }
  return sum - reference_lse + lse;
}

}  // namespace nibble
