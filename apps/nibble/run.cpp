// nibble run: streams a completion.
#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/log.h"
#include "nibble/runtime/generate.h"
#include "nibble/runtime/prompt.h"
#include "sampling_flags.h"

namespace nibble::cli {
namespace {

struct RunFlags {
  std::string model;
  TextFlags prompt;
  ComputeFlags compute;
  SamplingFlags sampling;
  bool no_special = false;
};

/// Templates end messages with the tokenizer's token, generation at config.json's.
void note_other_end(const Model& model, const Tokenizer& tokenizer) {
  const auto end = tokenizer.eos_id();
  const std::vector<std::int32_t>& eos = model.spec().eos;
  if (!end || eos.empty() || std::find(eos.begin(), eos.end(), *end) != eos.end()) return;
  std::string ends;
  for (const std::int32_t id : eos) {
    ends += fmt::format("{}{} ({})", ends.empty() ? "" : ", ", id, tokenizer.id_to_token(id));
  }
  warn("the tokenizer's end is {} ({}), the model's are {}: the text ends at the model's", *end,
       tokenizer.id_to_token(*end), ends);
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
  note_other_end(model, tokenizer);
  std::vector<std::int32_t> prompt = encode_prompt(model, tokenizer, text, !flags.no_special);
  const std::size_t prompt_tokens = prompt.size();
  KvCache cache = model.make_cache(flags.compute.context);
  GenerateOptions options = flags.sampling.generate;
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

}  // namespace

void add_run(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("run", "Complete a prompt");
  auto flags = std::make_shared<RunFlags>();
  add_model_argument(command, flags->model);
  add_text_argument(command, flags->prompt, "PROMPT",
                    "The text to complete, special tokens in it parsed; no template is applied");
  command.add_switch("--no-special", flags->no_special,
                     "Add no BOS or EOS to the prompt: the text itself only");
  add_sampling_flags(command, flags->sampling, SamplingDefaults::kOwn);
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example("nibble run SmolLM2-135M \"Once upon a time\" -n 100 --temperature 0.8");
  command.check([flags] { check_sampling(flags->sampling); });
  command.set_action([flags, &common] { run(*flags, common); });
}

}  // namespace nibble::cli
