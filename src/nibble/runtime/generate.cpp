#include "nibble/runtime/generate.h"

#include <algorithm>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/stopwatch.h"
#include "nibble/runtime/finite.h"
#include "nibble/runtime/stop_filter.h"

namespace nibble {
namespace {

/// The text of a generation under way: ids in, final text out.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const std::vector<std::string>& stops,
             FunctionRef<void(std::string_view)> on_text)
      : tokenizer_(tokenizer),
        decoder_(tokenizer, {.skip_special = true, .continues = true}),
        filter_(stops),
        on_text_(on_text) {}

  void push(std::int32_t id) {
    emit(filter_.push(decoder_.push(id)));
    emit(filter_.push_hidden(tokenizer_.special_text(id)));  // a stop text may be that of a token
  }
  void finish() {
    emit(filter_.push(decoder_.finish()));
    emit(filter_.finish());
  }
  bool stopped() const { return filter_.stopped(); }
  const std::string& text() const { return text_; }

 private:
  void emit(const std::string& piece) {
    if (piece.empty()) return;
    text_ += piece;
    on_text_(piece);
  }

  const Tokenizer& tokenizer_;
  StreamDecoder decoder_;
  StopFilter filter_;
  FunctionRef<void(std::string_view)> on_text_;
  std::string text_;
};

void check_prompt(const std::vector<std::int32_t>& prompt, const KvCache& cache) {
  if (prompt.empty()) fail("the prompt is empty, and this model has no BOS token to begin with");
  const std::int64_t room = cache.capacity() - cache.length();
  if (static_cast<std::int64_t>(prompt.size()) > room) {
    fail(
        "the prompt has {} tokens, but only {} of the context's {} positions are free; "
        "shorten it, or raise --context",
        prompt.size(), room, cache.capacity());
  }
}

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEos:
      return "eos";
    case StopReason::kStop:
      return "stop";
    case StopReason::kLength:
      return "length";
    case StopReason::kContext:
      return "context";
  }
  return "";
}

double Generation::ms_per_token() const {
  return ids.size() > 1 ? decode_ms / static_cast<double>(ids.size() - 1) : 0.0;
}

Generation generate(Model& model, const Tokenizer& tokenizer, KvCache& cache,
                    std::vector<std::int32_t>& context, const std::vector<std::int32_t>& prompt,
                    const GenerateOptions& options, FunctionRef<void(std::string_view)> on_text) {
  check_prompt(prompt, cache);
  Sampler sampler(options.sampler);
  TextStream stream(tokenizer, options.stop, on_text);
  std::vector<std::int32_t> eos = model.spec().eos;
  eos.insert(eos.end(), options.end_ids.begin(), options.end_ids.end());
  std::vector<float> logits(static_cast<std::size_t>(model.spec().vocab));
  Generation result;

  const Stopwatch prefill;
  model.forward_last(prompt, cache, logits.data());
  result.prefill_ms = prefill.milliseconds();
  context.insert(context.end(), prompt.begin(), prompt.end());
  check_finite(model, logits, context);
  while (static_cast<std::int64_t>(result.ids.size()) < options.max_tokens) {
    check_interrupt();
    const std::int32_t id = sampler.sample(logits, context);
    result.ids.push_back(id);
    context.push_back(id);
    if (!options.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end()) {
      result.reason = StopReason::kEos;
      break;
    }
    stream.push(id);
    if (stream.stopped()) {
      result.reason = StopReason::kStop;
      break;
    }
    if (static_cast<std::int64_t>(result.ids.size()) == options.max_tokens) break;
    if (cache.length() == cache.capacity()) {
      result.reason = StopReason::kContext;
      break;
    }
    const Stopwatch pass;
    model.forward_last({&id, 1}, cache, logits.data());
    result.decode_ms += pass.milliseconds();
    check_finite(model, logits, context);
  }
  if (!stream.stopped()) stream.finish();
  result.text = stream.text();
  return result;
}

}  // namespace nibble
