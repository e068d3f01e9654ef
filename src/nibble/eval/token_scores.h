// How likely a model finds given tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/runtime/model.h"

namespace nibble {

// Positions whose logits exist at a time: the head's weights are unpacked once for each lot.
constexpr std::int64_t kPositionsPerLot = 128;

/// Cross-entropy of `target` under `logits`, (vocab): -ln p(target), in nats.
double cross_entropy(const KernelSet& kernels, std::span<const float> logits, std::int32_t target);

/// A token that may follow a hidden state.
struct TokenToScore {
  const float* hidden;  // (hidden), behind the token before
  std::int32_t token;
};

/// ln p of each token. Throws Error if logits are not finite.
std::vector<double> log_probabilities(Model& model, std::span<const TokenToScore> tokens);

}  // namespace nibble
