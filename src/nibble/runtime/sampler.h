// Chooses the next token from logits: repetition penalty, temperature, top-k, top-p, min-p, in this
// order, then a draw; greedy at temperature 0.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace nibble {

struct SamplerOptions {
  double temperature = 0.0;     // 0: the most likely token
  std::int64_t top_k = 0;       // 0: off
  double top_p = 1.0;           // of (0, 1]; 1: off (Holtzman et al. 2019, nucleus sampling)
  double min_p = 0.0;           // of [0, 1]; 0: off (Nguyen et al. 2024)
  double repeat_penalty = 1.0;  // above 0; 1: off (Keskar et al. 2019, section 4.1)
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  /// Throws Error naming the option that is out of range.
  explicit Sampler(const SamplerOptions& options);

  /// `logits`: (vocab), changed. `context`: all tokens so far, for the repetition penalty. Among
  /// equal logits the smaller id comes first.
  std::int32_t sample(std::span<float> logits, std::span<const std::int32_t> context);

 private:
  struct Candidate {
    std::int32_t id;
    float logit;
    double probability;
  };

  void penalize(std::span<float> logits, std::span<const std::int32_t> context);
  void take_top_k(std::span<const float> logits);
  void take_top_p();
  void take_min_p();
  std::int32_t draw();

  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;  // most likely first
  std::vector<bool> penalized_;        // (vocab)
};

}  // namespace nibble
