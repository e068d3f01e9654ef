#include "nibble/runtime/generate_many.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "nibble/core/interrupt.h"
#include "nibble/runtime/finite.h"

namespace nibble {
namespace {

struct UnderWay {
  std::int64_t number;
  SequenceRun run;
  std::string text;

  std::span<const std::int32_t> pending() const {
    return run.sequence.tokens().subspan(static_cast<std::size_t>(run.cache.length()));
  }
};

Generation finish(UnderWay& done) {
  const auto ids = done.run.sequence.new_tokens();
  return {.ids = {ids.begin(), ids.end()},
          .text = std::move(done.text),
          .reason = *done.run.sequence.finished()};
}

/// One pass over all sequences, and a step of each.
void step_all(Model& model, std::deque<UnderWay>& all, std::vector<float>& logits) {
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  std::vector<SequenceTokens> tokens;
  for (UnderWay& one : all) tokens.push_back({one.pending(), &one.run.cache});
  logits.resize(all.size() * vocab);
  model.forward_last(tokens, logits.data());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto row = std::span(logits).subspan(i * vocab, vocab);
    Sequence& sequence = all[i].run.sequence;
    check_finite(model, row, sequence.tokens());
    all[i].text += sequence.step(row).text;
  }
}

}  // namespace

void generate_many(Model& model, std::int64_t count, std::int64_t at_once,
                   FunctionRef<SequenceRun(std::int64_t)> start,
                   FunctionRef<void(std::int64_t, const Generation&)> on_done) {
  std::deque<UnderWay> all;  // stays where it is while others come: a pass points into it
  std::vector<float> logits;
  std::int64_t next = 0;
  while (next < count || !all.empty()) {
    check_interrupt();
    while (next < count && std::ssize(all) < at_once) {
      all.push_back({next, start(next), ""});
      ++next;
    }
    const auto finished = [](const UnderWay& one) {
      return one.run.sequence.finished().has_value();
    };
    if (std::none_of(all.begin(), all.end(), finished)) step_all(model, all, logits);
    std::erase_if(all, [&](UnderWay& one) {
      if (!finished(one)) return false;
      on_done(one.number, finish(one));
      return true;
    });
  }
}

}  // namespace nibble
