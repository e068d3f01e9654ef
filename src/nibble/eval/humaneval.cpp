#include "nibble/eval/humaneval.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "nibble/core/error.h"
#include "nibble/core/json.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/eval/data_folder.h"
#include "nibble/eval/shared_prefix.h"
#include "nibble/formats/gzip.h"
#include "nibble/runtime/generate_many.h"
#include "nibble/runtime/prompt.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kAtOnce = 16;  // completions

HumanEvalProblem parse_problem(std::string_view line, const std::string& origin) {
  const Json json = parse_json(line, origin);
  const JsonObject object(json, origin);
  return {object.get_string("task_id"), object.get_string("prompt")};
}

std::vector<std::vector<std::int32_t>> encode_prompts(const Model& model,
                                                      const Tokenizer& tokenizer,
                                                      const std::vector<HumanEvalProblem>& problems,
                                                      std::int64_t context) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const HumanEvalProblem& problem : problems) {
    prompts.push_back(encode_prompt(model, tokenizer, problem.prompt, true));
    const std::int64_t tokens = std::ssize(prompts.back());
    if (tokens > context) {
      fail("{}: {} tokens, but the context has {} (-c/--context)", problem.task_id, tokens,
           context);
    }
  }
  return prompts;
}

std::int64_t longest(const std::vector<std::vector<std::int32_t>>& prompts) {
  std::size_t size = 0;
  for (const auto& prompt : prompts) size = std::max(size, prompt.size());
  return static_cast<std::int64_t>(size);
}

}  // namespace

std::vector<HumanEvalProblem> load_humaneval(const fs::path& file) {
  const std::string text = read_text_or_gzip(file);
  std::vector<HumanEvalProblem> problems;
  std::set<std::string> ids;
  std::size_t line_number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string origin = fmt::format("{}:{}", file.string(), line_number);
    problems.push_back(parse_problem(line, origin));
    if (!ids.insert(problems.back().task_id).second) {
      fail("{}: \"task_id\": {} again, expected one of its own", origin, problems.back().task_id);
    }
  }
  if (problems.empty()) fail("{}: no problems", file.string());
  return problems;
}

fs::path default_humaneval_file() {
  if (const auto data = data_folder()) {
    for (const char* place : {"humaneval/HumanEval.jsonl.gz", "humaneval/HumanEval.jsonl",
                              "HumanEval.jsonl.gz", "HumanEval.jsonl"}) {
      if (file_exists(*data / place)) return *data / place;
    }
  }
  fail(
      "no HumanEval problems: name the file with --data, or put HumanEval.jsonl.gz (of the "
      "authors' "
      "repository, openai/human-eval) under $NIBBLE_DATA{}",
      data_folder_state());
}

HumanEvalResult complete_humaneval(Model& model, const std::vector<HumanEvalProblem>& problems,
                                   const HumanEvalOptions& options) {
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  const std::int64_t most = options.context > 0 ? options.context : model.spec().context;
  const auto prompts = encode_prompts(model, tokenizer, problems, most);
  const std::int64_t context = std::min(most, longest(prompts) + options.max_tokens);
  const std::int64_t at_once = caches_in_memory(model, context, kAtOnce);
  SharedPrefix shared(model, context, at_once);

  HumanEvalResult result;
  result.completions.resize(problems.size() * static_cast<std::size_t>(options.samples));
  Progress progress("HumanEval", std::ssize(result.completions), "completions");
  const auto start = [&](std::int64_t number) {
    const auto& prompt = prompts[static_cast<std::size_t>(number / options.samples)];
    if (options.samples > 1 && number % options.samples == 0) shared.set(prompt);
    GenerateOptions generate{.max_tokens = options.max_tokens,
                             .sampler = {.temperature = options.temperature,
                                         .seed = options.seed + static_cast<std::uint64_t>(number)},
                             .stop = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"},
                             .end_ids = tokenizer.end_ids()};
    return SequenceRun{Sequence(tokenizer, model.spec(), prompt, context, generate),
                       shared.branch(prompt)};
  };
  const auto on_done = [&](std::int64_t number, const Generation& generation) {
    result.completions[static_cast<std::size_t>(number)] = generation.text;
    result.tokens += std::ssize(generation.ids);
    progress.set_note(problems[static_cast<std::size_t>(number / options.samples)].task_id);
    progress.advance(1);
  };
  const Stopwatch stopwatch;
  generate_many(model, std::ssize(result.completions), at_once, start, on_done);
  result.seconds = stopwatch.seconds();
  return result;
}

std::string humaneval_line(const HumanEvalProblem& problem, const std::string& completion) {
  const nlohmann::ordered_json json = {{"task_id", problem.task_id}, {"completion", completion}};
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace nibble
