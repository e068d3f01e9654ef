// How fast a model runs, prefill and decode apart, and how near that is to what the machine allows:
// its arithmetic peak for prefill, its memory's read bandwidth for decode.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "nibble/bench/bracket.h"
#include "nibble/bench/statistics.h"
#include "nibble/core/json.h"
#include "nibble/runtime/model.h"

namespace nibble {

struct SpeedOptions {
  std::int64_t prompt = 512;    // tokens of prefill; 0 leaves the test out
  std::int64_t generate = 128;  // tokens of decode; 0 leaves the test out
  std::int64_t sequences = 0;   // decoded at once in a test more; 0 leaves it out
  int repetitions = 5;
  std::int64_t context = 0;  // positions allowed; 0: the model's
  std::uint64_t seed = 0;    // of the token ids
};

/// Tokens in the cache when a repetition of decode begins.
inline constexpr std::int64_t kDecodeStart = 16;
/// An answer's length, for which the first tokens are measured, if as many are asked for.
inline constexpr std::int64_t kFirstTokens = 60;

/// The first tokens of a process: what an answer that is not waited for long is made of. Weights
/// come in then, and may not lie where they are read quickest yet (models/weight_mover.h).
struct FirstTokens {
  double prompt_seconds = 0;  // of kDecodeStart tokens, the first pass of all
  std::int64_t tokens = 0;    // that follow it
  double seconds = 0;         // of those

  double per_second() const { return static_cast<double>(tokens) / seconds; }
};

struct PrefillSpeed {
  std::int64_t tokens = 0;                // of a pass
  std::vector<double> tokens_per_second;  // a repetition each
  double peak = 0;                        // operations a second
  std::string instruction;                // whose peak that is
  double operations = 0;                  // of the matrix products of a pass

  /// Tokens a second if the matrix products ran at the peak and nothing else took time.
  double limit() const { return static_cast<double>(tokens) * peak / operations; }
};

struct DecodeSpeed {
  std::int64_t tokens = 0;  // of a repetition
  BracketedRuns runs;       // speeds in tokens a second
  double bytes_per_token = 0;

  /// Tokens a second if reading the weights were all there is to do, at a run's bandwidth.
  double limit(const BracketedRun& run) const { return run.reading() / bytes_per_token; }
};

/// Decode of several sequences at once, a token of each in every pass.
struct SequencesSpeed {
  std::int64_t sequences = 0;
  std::int64_t tokens = 0;  // of each, in a repetition
  /// Tokens a second of one repetition, of all sequences; and what bounds them: a pass takes at
  /// least as long as one of a single sequence, and its rows cost about what those of a prompt do.
  struct Run {
    double speed;
    double one;      // sequence, decoded alone
    double prefill;  // of the prompt

    double limit(std::int64_t sequences) const {
      return std::min(static_cast<double>(sequences) * one, prefill);
    }
  };
  std::vector<Run> runs;
};

struct SpeedReport {
  std::vector<FirstTokens> first;         // none or one
  std::vector<PrefillSpeed> prefill;      // none or one
  std::vector<DecodeSpeed> decode;        // none or one
  std::vector<SequencesSpeed> sequences;  // none or one
  std::int64_t peak_rss_bytes = 0;        // without the memory that readings of the bandwidth take
};

/// Positions that the tests need, of a sequence. Throws Error if that is more than the context has.
std::int64_t needed_positions(const SpeedOptions& options, const ModelSpec& spec);

/// Measures, the first tokens first: the model should have run none yet. Pins the threads of the
/// model, the calling one too, where there is a core for each. Throws Error if the tests are longer
/// than the context.
SpeedReport measure_speed(Model& model, const ComputeOptions& compute, const SpeedOptions& options);

/// Measures options.sequences sequences, each repetition beside the other two rates. Throws Error
/// likewise, and if there is no prompt or no new token to compare with.
SequencesSpeed measure_sequences(Model& model, const SpeedOptions& options);

/// `count` token ids below `vocab` for a prompt that means nothing.
std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab, std::uint64_t seed);

/// Operations (2 a multiply-add) of one pass over `tokens` tokens: of all linear layers, and of the
/// head for the one row whose logits are wanted. Weights multiplied by one instruction together.
struct ProductWork {
  const PeakKernel* peak;
  double operations;
};
std::vector<ProductWork> prefill_work(const Checkpoint& checkpoint, const KernelSet& kernels,
                                      const ComputeOptions& compute, std::int64_t tokens);

/// The entries of "results". Decode without a repetition that could be kept has null in place of
/// its figures.
Json first_tokens_json(const FirstTokens& first);
Json prefill_json(const PrefillSpeed& speed);
Json decode_json(const DecodeSpeed& speed);
Json sequences_json(const SequencesSpeed& speed);

}  // namespace nibble
