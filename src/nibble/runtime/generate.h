// Generation: a prompt in, a completion out, streamed as text that is always whole characters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/runtime/model.h"
#include "nibble/runtime/sampler.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

struct GenerateOptions {
  std::int64_t max_tokens = 60;  // new ones at the most
  SamplerOptions sampler;
  std::vector<std::string> stop;  // texts that end generation and are not part of it
  bool ignore_eos = false;
  std::vector<std::int32_t> end_ids;  // tokens that end it besides the model's EOS
};

enum class StopReason { kEos, kStop, kLength, kContext };
/// "eos", "stop", "length", "context".
const char* stop_reason_name(StopReason reason);

struct Generation {
  std::vector<std::int32_t> ids;  // an EOS that ended it included
  std::string text;               // neither EOS nor stop text
  StopReason reason = StopReason::kLength;
  double prefill_ms = 0;  // the pass over the prompt
  double decode_ms = 0;   // all later passes
  /// Milliseconds of a pass after the first; 0 if there was none.
  double ms_per_token() const;
};

/// Continues `prompt` after what is in `cache`. `context` lists the tokens so far, for the
/// repetition penalty; it grows by prompt and completion. So does the cache, but for the last token
/// of the completion, which needs no place there unless something follows it: a cache of C
/// positions gives C - p + 1 tokens after a prompt of p. Calls `on_text` with each piece of text as
/// it is final. Throws Error if the prompt is empty or does not fit in the cache.
Generation generate(Model& model, const Tokenizer& tokenizer, KvCache& cache,
                    std::vector<std::int32_t>& context, const std::vector<std::int32_t>& prompt,
                    const GenerateOptions& options,
                    FunctionRef<void(std::string_view text)> on_text);

}  // namespace nibble
