// HumanEval (Chen et al. 2021, "Evaluating Large Language Models Trained on Code"): completions of
// its prompts, for the authors' scorer. No code that a model wrote is run here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/runtime/model.h"

namespace nibble {

struct HumanEvalProblem {
  std::string task_id;  // "HumanEval/0"
  std::string prompt;   // Python: the head of a function and what it should do
};

/// The problems of a file of JSON lines, gzipped or not. Throws Error as "file:line: ..." for a
/// line without a "task_id" of its own and a "prompt".
std::vector<HumanEvalProblem> load_humaneval(const std::filesystem::path& file);

/// HumanEval.jsonl.gz or HumanEval.jsonl in humaneval under $NIBBLE_DATA, or in $NIBBLE_DATA
/// itself. Throws Error saying where to get it.
std::filesystem::path default_humaneval_file();

struct HumanEvalOptions {
  std::int64_t samples = 1;  // of each problem
  double temperature = 0;    // 0: greedy
  std::uint64_t seed = 0;
  std::int64_t max_tokens = 512;  // new ones at the most
  std::int64_t context = 0;       // positions; 0: the model's
};

struct HumanEvalResult {
  std::vector<std::string> completions;  // (problems, samples)
  std::int64_t tokens = 0;               // new ones
  double seconds = 0;
};

/// Completes each prompt as the paper does: up to the first line behind the function ("\nclass",
/// "\ndef", "\n#", "\nif", "\nprint"), which is left out. Samples of a prompt share its keys and
/// values; several completions run in a pass. Shows progress. Throws Error for a prompt that does
/// not fit in the context.
HumanEvalResult complete_humaneval(Model& model, const std::vector<HumanEvalProblem>& problems,
                                   const HumanEvalOptions& options);

/// One line of the scorer's input.
std::string humaneval_line(const HumanEvalProblem& problem, const std::string& completion);

}  // namespace nibble
