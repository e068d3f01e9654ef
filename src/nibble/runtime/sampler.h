// Chooses the next token from logits: repetition penalty, temperature, top-k, top-p, min-p, in this
// order, then a draw; greedy at temperature 0. Only as many of the tokens are sorted as a choice
// looks at, which on a vocabulary of 128,000 is far less than all.
#pragma once

#include <cstddef>
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

  /// `logits`: (vocab), changed. `context`: all tokens so far, ids below vocab, for the repetition
  /// penalty. Tokens are in the order of their logits, among equal ones of their ids, and a draw
  /// goes along that order: seed and logits alone decide it.
  std::int32_t sample(std::span<float> logits, std::span<const std::int32_t> context);

 private:
  struct Candidate {
    std::int32_t id;
    float logit;
    double weight;  // exp((logit - largest) / temperature): the probability times mass_
  };

  void penalize(std::span<float> logits, std::span<const std::int32_t> context);
  void take_top_k(std::span<const float> logits);
  void weigh();
  void take_top_p();
  void take_min_p();
  std::int32_t draw();
  /// Puts the `count` most likely candidates (at least) in front and in order.
  void put_in_order(std::size_t count);
  /// Drops all but the `count` most likely, which are in order and together weigh `mass`.
  void keep(std::size_t count, double mass);

  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
  std::size_t in_order_ = 0;     // so many candidates are in front and in order
  double mass_ = 0;              // sum of the candidates' weights
  std::vector<bool> penalized_;  // (vocab)
};

}  // namespace nibble
