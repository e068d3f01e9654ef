#include <algorithm>
#include <span>
#include <vector>

#include "nibble/bench/speed.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"

namespace nibble {
namespace {

class SequencesTest {
 public:
  SequencesTest(Model& model, const SpeedOptions& options)
      : model_(model),
        options_(options),
        positions_(needed_positions(options, model.spec())),
        ids_(random_ids(positions_ + options.sequences, model.spec().vocab, options.seed)),
        logits_(static_cast<std::size_t>(options.sequences * model.spec().vocab)) {
    const auto pool = model.make_pool((positions_ + kKvPagePositions) * options.sequences);
    for (std::int64_t i = 0; i < options.sequences; ++i) {
      caches_.push_back(model.make_cache(pool, positions_));
    }
    sequences_.resize(caches_.size());
  }

  /// Tokens a second of a prompt.
  double prefill() {
    caches_[0].truncate(0);
    const Stopwatch stopwatch;
    model_.forward_last(ids(0, 0, options_.prompt), caches_[0], logits_.data());
    return static_cast<double>(options_.prompt) / stopwatch.seconds();
  }

  /// Tokens a second of the first `count` sequences, decoded together from kDecodeStart on.
  double decode(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      caches_[i].truncate(0);
      model_.forward_last(ids(i, 0, kDecodeStart), caches_[i], logits_.data());
    }
    const Stopwatch stopwatch;
    for (std::int64_t step = kDecodeStart; step < kDecodeStart + options_.generate; ++step) {
      for (std::size_t i = 0; i < count; ++i) sequences_[i] = {ids(i, step, 1), &caches_[i]};
      model_.forward_last(std::span(sequences_).first(count), logits_.data());
    }
    return static_cast<double>(options_.generate) * static_cast<double>(count) /
           stopwatch.seconds();
  }

 private:
  /// Tokens of a sequence, each of which begins with another.
  std::span<const std::int32_t> ids(std::size_t sequence, std::int64_t first,
                                    std::int64_t count) const {
    return std::span(ids_).subspan(sequence + static_cast<std::size_t>(first),
                                   static_cast<std::size_t>(count));
  }

  Model& model_;
  const SpeedOptions& options_;
  std::int64_t positions_;
  std::vector<std::int32_t> ids_;
  std::vector<float> logits_;  // (sequences, vocab)
  std::vector<KvCache> caches_;
  std::vector<SequenceTokens> sequences_;
};

}  // namespace

SequencesSpeed measure_sequences(Model& model, const SpeedOptions& options) {
  if (options.prompt == 0 || options.generate == 0) {
    fail("{} sequences at once are measured beside a prompt (-p) and new tokens (-n)",
         options.sequences);
  }
  SequencesTest test(model, options);
  const auto count = static_cast<std::size_t>(options.sequences);
  SequencesSpeed result{.sequences = options.sequences, .tokens = options.generate};
  Progress progress("measuring", options.repetitions, "runs");
  test.decode(count);  // brings in all that is looked up
  for (int i = 0; i < options.repetitions; ++i) {
    // The other two before and after, so that a machine that changes its speed changes it for all.
    const double prefill = test.prefill();
    const double one = test.decode(1);
    const double speed = test.decode(count);
    result.runs.push_back({.speed = speed,
                           .one = (one + test.decode(1)) / 2,
                           .prefill = (prefill + test.prefill()) / 2});
    verbose("{} sequences: {:.2f} tokens a second", count, speed);
    progress.advance(1);
  }
  return result;
}

}  // namespace nibble
