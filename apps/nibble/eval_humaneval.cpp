// HumanEval: completions as JSON lines.
#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "eval_tasks.h"
#include "nibble/core/output.h"
#include "nibble/eval/humaneval.h"
#include "nibble/models/token_cost.h"

namespace nibble::cli {

void check_samples(const HumanEvalFlags& flags) {
  if (flags.samples > 1 && flags.temperature == 0) {
    throw UsageError("--n above 1 needs a --temperature above 0: greedy completions are all alike");
  }
}

void eval_humaneval(const std::string& model_name, const HumanEvalFlags& flags,
                    const ComputeFlags& compute, const CommonFlags& common) {
  const std::vector<HumanEvalProblem> problems = load_humaneval(
      flags.data.empty() ? default_humaneval_file() : std::filesystem::path(flags.data));
  const std::filesystem::path model_path = locate_model(model_name);
  check_not_model(model_path, flags.output);
  OutputFile file(flags.output);
  ThreadPool pool(common.threads);
  Model model(model_path, pool, compute.options());
  const HumanEvalResult result = complete_humaneval(model, problems,
                                                    {.samples = flags.samples,
                                                     .temperature = flags.temperature,
                                                     .seed = common.seed,
                                                     .max_tokens = flags.max_tokens,
                                                     .context = compute.context});
  for (std::size_t i = 0; i < result.completions.size(); ++i) {
    const std::size_t problem = i / static_cast<std::size_t>(flags.samples);
    file.write(humaneval_line(problems[problem], result.completions[i]));
  }
  file.commit();
  const double per_second = static_cast<double>(result.tokens) / result.seconds;
  if (common.json) {
    print_json({{"task", "humaneval"},
                {"model", model_name},
                {"bits_per_weight",
                 token_cost(model.checkpoint(), compute.options().dtype).bits_per_weight()},
                {"activations", activation_type_name(model.activations())},
                {"output", flags.output},
                {"problems", problems.size()},
                {"samples", flags.samples},
                {"temperature", flags.temperature},
                {"generated_tokens", result.tokens},
                {"seconds", result.seconds},
                {"generated_tokens_per_second", per_second}});
    return;
  }
  fmt::print("{}: {} completions of {} problems; {} tokens, {:.1f} a second\n", flags.output,
             result.completions.size(), problems.size(), result.tokens, per_second);
}

}  // namespace nibble::cli
