#include "nibble/runtime/generate.h"

#include <cassert>
#include <span>

#include "nibble/core/interrupt.h"
#include "nibble/core/stopwatch.h"

namespace nibble {

double Generation::ms_per_token() const {
  return ids.size() > 1 ? decode_ms / static_cast<double>(ids.size() - 1) : 0.0;
}

Generation generate(Model& model, KvCache& cache, Sequence& sequence,
                    FunctionRef<void(std::string_view)> on_text) {
  std::vector<float> logits(static_cast<std::size_t>(model.spec().vocab));
  // Runs what the cache does not hold yet; gives the time that it took in milliseconds.
  const auto run = [&] {
    const auto pending = sequence.tokens().subspan(static_cast<std::size_t>(cache.length()));
    const Stopwatch stopwatch;
    model.forward_last(pending, cache, logits.data());
    return stopwatch.milliseconds();
  };
  Generation result;
  result.prefill_ms = run();
  while (!sequence.finished()) {
    check_interrupt();
    const SequenceStep& step = sequence.step(logits);
    result.text += step.text;
    if (!step.text.empty()) on_text(step.text);
    if (!sequence.finished()) result.decode_ms += run();
  }
  const auto ids = sequence.new_tokens();
  result.ids.assign(ids.begin(), ids.end());
  result.reason = *sequence.finished();
  return result;
}

}  // namespace nibble
