// Generation: a prompt in, a completion out, streamed as text that is always whole characters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/runtime/model.h"
#include "nibble/runtime/sequence.h"

namespace nibble {

struct Generation {
  std::vector<std::int32_t> ids;  // an EOS that ended it included
  std::string text;               // neither EOS nor stop text
  StopReason reason = StopReason::kLength;
  double prefill_ms = 0;  // the pass over the prompt
  double decode_ms = 0;   // all later passes
  /// Milliseconds of a pass after the first; 0 if there was none.
  double ms_per_token() const;
};

/// Drives `sequence` to its end. The cache holds the first of its tokens, or none, and grows by all
/// others but the last, which needs no place there unless something follows it. Calls `on_text`
/// with each piece of text as it is final.
Generation generate(Model& model, KvCache& cache, Sequence& sequence,
                    FunctionRef<void(std::string_view text)> on_text);

}  // namespace nibble
