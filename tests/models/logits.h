// Runs a checkpoint with any kernel set and compares its logits with a reference's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nibble/formats/npy.h"
#include "nibble/kernels/select.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/decoder.h"

namespace nibble::test {

/// How a test computes. With activations of float32 nothing is rounded but the weights.
struct Mode {
  const KernelSet* kernels = &select_kernels();
  DType dtype = DType::kBF16;
  std::optional<ActivationType> activations = ActivationType::kF32;
  int threads = 2;
};

/// A checkpoint and what runs it: what nibble::Model is, but for any kernel set.
class Runner {
 public:
  Runner(const std::filesystem::path& path, const Mode& mode)
      : checkpoint_(path),
        pool_(mode.threads),
        compute_(*mode.kernels, pool_),
        decoder_(checkpoint_, compute_, mode.dtype, mode.activations),
        kv_(mode.activations == ActivationType::kF32 ? KvType::kF32 : KvType::kBF16) {}

  const ModelSpec& spec() const { return decoder_.spec(); }
  Compute& compute() { return compute_; }

  /// Logits of every position, (ids, vocab), the ids given in steps of `batch` (0: all at once).
  std::vector<float> logits(const std::vector<std::int32_t>& ids, std::size_t batch = 0) {
    KvCache cache({spec().n_layers, spec().n_kv_heads, spec().head_dim,
                   static_cast<std::int64_t>(ids.size())},
                  kv_);
    const std::vector<float> hidden = run(cache, ids, batch == 0 ? ids.size() : batch);
    std::vector<float> out(ids.size() * static_cast<std::size_t>(spec().vocab));
    decoder_.logits(compute_, hidden.data(), static_cast<std::int64_t>(ids.size()), out.data());
    return out;
  }

  /// The arg-max continuation of `ids`, `count` tokens.
  std::vector<std::int32_t> greedy(const std::vector<std::int32_t>& ids, std::size_t count) {
    KvCache cache({spec().n_layers, spec().n_kv_heads, spec().head_dim,
                   static_cast<std::int64_t>(ids.size() + count)},
                  kv_);
    std::vector<float> hidden = run(cache, ids, ids.size());
    std::vector<float> last(static_cast<std::size_t>(spec().vocab));
    std::vector<std::int32_t> out;
    while (out.size() < count) {
      decoder_.logits(compute_, hidden.data() + hidden.size() - spec().hidden, 1, last.data());
      out.push_back(
          static_cast<std::int32_t>(std::max_element(last.begin(), last.end()) - last.begin()));
      hidden = run(cache, {out.back()}, 1);
    }
    return out;
  }

 private:
  std::vector<float> run(KvCache& cache, const std::vector<std::int32_t>& ids, std::size_t batch) {
    const auto width = static_cast<std::size_t>(spec().hidden);
    std::vector<float> hidden(ids.size() * width);
    for (std::size_t at = 0; at < ids.size(); at += batch) {
      decoder_.forward(compute_, std::span(ids).subspan(at, std::min(batch, ids.size() - at)),
                       cache, hidden.data() + at * width);
    }
    return hidden;
  }

  Checkpoint checkpoint_;
  ThreadPool pool_;
  Compute compute_;
  Decoder decoder_;
  KvType kv_;
};

/// The ids that all references were made with: (7 + 31 i + 17 i^2) mod vocab.
inline std::vector<std::int32_t> reference_ids(std::size_t count, std::int64_t vocab) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(count); ++i) {
    ids.push_back(static_cast<std::int32_t>((7 + 31 * i + 17 * i * i) % vocab));
  }
  return ids;
}

inline double standard_deviation(const std::vector<float>& values) {
  double sum = 0;
  double squares = 0;
  for (const float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / n - sum / n * (sum / n));
}

/// Rows first, first + step, ... of `values`, (rows, vocab).
inline std::vector<float> every_row(const std::vector<float>& values, std::size_t vocab,
                                    std::size_t first, std::size_t step) {
  std::vector<float> out;
  for (std::size_t row = first; (row + 1) * vocab <= values.size(); row += step) {
    out.insert(out.end(), values.begin() + static_cast<std::ptrdiff_t>(row * vocab),
               values.begin() + static_cast<std::ptrdiff_t>((row + 1) * vocab));
  }
  return out;
}

/// Checks logits against a reference's: the root mean square of the difference is below
/// `rms_limit` standard deviations of the reference, and the arg-max is the same in every row
/// where the reference's first two are further apart than `margin` standard deviations.
inline void expect_close_logits(const std::vector<float>& found, const std::vector<float>& expected,
                                std::size_t vocab, double rms_limit, double margin) {
  ASSERT_EQ(found.size(), expected.size());
  const double deviation = standard_deviation(expected);
  double squares = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double difference = static_cast<double>(found[i]) - expected[i];
    squares += difference * difference;
  }
  const double rms = std::sqrt(squares / static_cast<double>(found.size())) / deviation;
  EXPECT_LT(rms, rms_limit);
  for (std::size_t at = 0; at < found.size(); at += vocab) {
    const auto row = expected.begin() + static_cast<std::ptrdiff_t>(at);
    std::vector<float> sorted(row, row + static_cast<std::ptrdiff_t>(vocab));
    std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
    if (sorted[0] - sorted[1] <= margin * deviation) continue;
    const auto other = found.begin() + static_cast<std::ptrdiff_t>(at);
    EXPECT_EQ(std::max_element(other, other + static_cast<std::ptrdiff_t>(vocab)) - other,
              std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab)) - row)
        << "row " << at / vocab;
  }
}

// What the reference results may be held to (rounding to bfloat16 alone costs about 1 % on random
// models).
inline constexpr double kF32Limit = 1e-4;
inline constexpr double kF32Margin = 1e-3;
inline constexpr double kBF16Limit = 0.01;
inline constexpr double kBF16RandomLimit = 0.025;
inline constexpr double kBF16Margin = 0.08;

}  // namespace nibble::test
