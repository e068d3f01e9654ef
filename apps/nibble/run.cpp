// nibble run: streams a completion.
#include <fmt/core.h>

#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/runtime/generate.h"

namespace nibble::cli {
namespace {

struct RunFlags {
  std::string model;
  TextFlags prompt;
  ComputeFlags compute;
  GenerateOptions generate;
};

/// A prompt without tokens begins with BOS, where the model has one.
std::vector<std::int32_t> encode_prompt(const Model& model, const Tokenizer& tokenizer,
                                        const std::string& text) {
  std::vector<std::int32_t> ids = tokenizer.encode(text);
  if (ids.empty() && model.spec().bos) ids.push_back(*model.spec().bos);
  return ids;
}

void report(const Model& model, const Generation& result, std::size_t prompt_tokens,
            std::int64_t capacity) {
  if (result.reason == StopReason::kContext) {
    warn("stopped: the context of {} tokens is full (-c/--context)", capacity);
  }
  const double ms = result.ms_per_token();
  log_message(LogLevel::kNormal,
              fmt::format("prompt {} tokens in {:.1f} ms; {} new tokens{}; {} activations",
                          prompt_tokens, result.prefill_ms, result.ids.size(),
                          ms > 0 ? fmt::format(", {:.2f} ms each ({:.1f} a second)", ms, 1000 / ms)
                                 : std::string(),
                          activation_type_name(model.activations())));
}

void run(const RunFlags& flags, const CommonFlags& common) {
  const std::string text = flags.prompt.read();
  ThreadPool pool(common.threads);
  Model model(locate_model(flags.model), pool, flags.compute.options());
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  std::vector<std::int32_t> prompt = encode_prompt(model, tokenizer, text);
  const std::size_t prompt_tokens = prompt.size();
  KvCache cache = model.make_cache(flags.compute.context);
  GenerateOptions options = flags.generate;
  if (options.max_tokens < 0) options.max_tokens = std::numeric_limits<std::int64_t>::max();
  options.sampler.seed = common.seed;

  Sequence sequence(tokenizer, model.spec(), std::move(prompt), cache.capacity(), options);
  const Generation result = generate(model, cache, sequence, [&](std::string_view piece) {
    if (!common.json) print_text(piece);
  });
  if (!common.json) {
    print_text("\n");
    report(model, result, prompt_tokens, cache.capacity());
    return;
  }
  print_json({{"prompt_tokens", prompt_tokens},
              {"generated_tokens", result.ids.size()},
              {"ids", result.ids},
              {"text", result.text},
              {"stop_reason", stop_reason_name(result.reason)},
              {"activations", activation_type_name(model.activations())},
              {"prefill_ms", result.prefill_ms},
              {"ms_per_token", result.ms_per_token()}});
}

void add_sampling_flags(const Command& command, GenerateOptions& options) {
  SamplerOptions& sampler = options.sampler;
  command
      .add("-n,--max-tokens", options.max_tokens,
           "New tokens at the most (-1: until the context is full)")
      .in_range(-1, std::int64_t{1} << 30)
      .show_default();
  command.add("--temperature", sampler.temperature, "0: always the most likely token")
      .show_default();
  command.add("--top-k", sampler.top_k, "Draw from the k most likely tokens (0: all)")
      .show_default();
  command
      .add("--top-p", sampler.top_p,
           "Draw from the fewest tokens that have this probability together (1: all)")
      .show_default();
  command
      .add("--min-p", sampler.min_p,
           "Draw from tokens at least this share as likely as the first (0: all)")
      .show_default();
  command
      .add("--repeat-penalty", sampler.repeat_penalty,
           "Divides the logits of tokens in the context (1: off)")
      .show_default();
  // One text for each --stop: a vector option would swallow the arguments that follow it.
  command.add("--stop", options.stop, "End before this text (may be given several times)")
      .one_value_each_time();
  command.add_switch("--ignore-eos", options.ignore_eos, "Go on past end-of-sequence tokens");
}

/// Values that no sampler takes are wrong usage.
void check_sampling(const SamplerOptions& options) {
  try {
    const Sampler checked(options);
  } catch (const Error& error) {
    throw UsageError(std::string("--") + error.what());
  }
}

}  // namespace

void add_run(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("run", "Complete a prompt");
  auto flags = std::make_shared<RunFlags>();
  add_model_argument(command, flags->model);
  add_text_argument(command, flags->prompt, "PROMPT",
                    "The text to complete, special tokens in it parsed; no template is applied");
  add_sampling_flags(command, flags->generate);
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example("nibble run SmolLM2-135M \"Once upon a time\" -n 100 --temperature 0.8");
  command.check([flags] { check_sampling(flags->generate.sampler); });
  command.set_action([flags, &common] { run(*flags, common); });
}

}  // namespace nibble::cli
