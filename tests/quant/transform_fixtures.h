// The fixtures of transforms (fixtures/transforms/make_fixtures.py), and what the references in
// NIBBLE_SHARED are compared by.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/formats/npy.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/pipeline.h"
#include "paths.h"

namespace nibble::testing {

using Ids = std::vector<std::vector<std::int32_t>>;

inline NpyFile transform_fixture(const std::string& name) {
  return NpyFile(test_file("quant/fixtures/transforms/" + name));
}

/// Rows of token ids, (blocks, tokens).
inline Ids blocks_of(const NpyFile& file) {
  const std::vector<std::int32_t> all = file.ints();
  const auto length = static_cast<std::ptrdiff_t>(file.shape()[1]);
  Ids blocks;
  for (auto at = all.begin(); at != all.end(); at += length) blocks.emplace_back(at, at + length);
  return blocks;
}

/// A copy in bfloat16. Quantized with --dtype f32 its weights are those of a model in bfloat16, but
/// norms that a transform folds scales into are not rounded again: as the references have them.
inline std::filesystem::path bfloat16_copy(const std::filesystem::path& model,
                                           const std::filesystem::path& out) {
  const Checkpoint checkpoint(model);
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  const QuantizePlan plan =
      plan_quantization(checkpoint.spec(), {.quantize_head = false, .exclude = {"*"}});
  quantize_model(checkpoint, plan, compute, {.path = out});
  return out;
}

/// The root mean square of the difference of the last logits.
inline double logits_distance(const std::vector<float>& logits,
                              const std::vector<float>& expected) {
  double squares = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t at = logits.size() - expected.size() + i;
    squares += std::pow(static_cast<double>(logits[at]) - expected[i], 2);
  }
  return std::sqrt(squares / static_cast<double>(expected.size()));
}

}  // namespace nibble::testing
