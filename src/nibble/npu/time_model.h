// How long a pass takes on an NPU, modelled: a pure function of a model's shape, the recipe, rows
// and context. Launches read their tiles' weights and multiply; attention, norms and conversions,
// and the head under plain awq, are the CPU's. Fitted to published tables; docs/npu.md has the
// equations, the range that they were fitted in (1B to 8B, up to 4000 tokens, groups of 32 and 128)
// and the errors.
#pragma once

#include <cstdint>

#include "nibble/npu/parameters.h"

namespace nibble::npu {

/// A completion as the published tables have it.
struct Completion {
  std::int64_t prompt = 0;      // tokens
  std::int64_t new_tokens = 0;  // the first of which comes with the prompt's pass
  /// The tasks whose name begins with "benchmark": some devices are measured before they are at
  /// full speed.
  bool cold_start = false;
};

struct ModelledTime {
  double prefill_ms;
  double token_ms;  // a token after the first
  double total_s(const Completion& completion) const;
};

class TimeModel {
 public:
  /// All are kept.
  TimeModel(const ModelShape& shape, const Recipe& recipe, const Parameters& parameters);

  /// Milliseconds of a pass over a prompt of m tokens.
  double prompt_ms(std::int64_t m) const;
  /// Milliseconds of a step of decode with `context` tokens in the cache.
  double step_ms(double context) const;

  ModelledTime completion(const Completion& completion) const;

 private:
  double launches_ms(std::int64_t m) const;
  double cpu_ms(std::int64_t m) const;
  double attention_ms(std::int64_t m) const;
  double fast_attention_ms(std::int64_t m) const;
  double parameter(const char* name) const { return parameters_.get(name, recipe_); }
  double parameter(const char* name, double fallback) const {
    return parameters_.get(name, recipe_, fallback);
  }

  ModelShape shape_;
  Recipe recipe_;
  Parameters parameters_;
};

}  // namespace nibble::npu
