// The task MMLU as a command runs it: from the folder of questions to letters, kept in a file on
// the way, so that who is stopped goes on from there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/eval/mmlu.h"
#include "nibble/runtime/model.h"

namespace nibble {

enum class MmluStyle { kBase, kChat };
const char* mmlu_style_name(MmluStyle style);  // "base", "chat"

/// How a model is asked unless somebody says it: as a chat model if the last part of its name has
/// "chat" in it, whatever the case, as in the published result sheets. A chat template says little:
/// base models have some too.
MmluStyle mmlu_style_for(std::string_view model_name);

struct MmluTask {
  std::string model_name;        // as users call it
  std::string style_name;        // whose name decides the style by itself; empty: model_name
  ComputeOptions compute;        // how the model was loaded
  std::filesystem::path folder;  // of the questions
  std::vector<std::string> subjects;
  std::int64_t limit = 30;         // questions a subject, 0: all
  std::optional<MmluStyle> style;  // not given: mmlu_style_for()
  std::int64_t context = 0;        // positions; 0: the model's
  bool one_by_one = false;         // MmluOptions::one_by_one
  std::filesystem::path file;      // where the answers are kept; empty: nowhere
};

struct MmluResult {
  Json settings;  // what decides the letters: "model", "style", "limit" ...
  std::vector<MmluAnswers> subjects;
  double seconds = 0;  // of computing, by all runs together
  double bits_per_weight = 0;
};

/// Asks a loaded model all questions, or those that `task.file` has no answers to yet. Shows
/// progress. Throws Error as the parts do, and if the file is of another model or other settings,
/// naming what differs; it is left as it is then.
MmluResult evaluate_mmlu(Model& model, const MmluTask& task);

/// The document of `nibble eval --task mmlu --json`, which is the file's too.
Json mmlu_json(const MmluResult& result);

}  // namespace nibble
