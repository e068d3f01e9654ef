// HellaSwag and WinoGrande: accuracy with its interval, as it settles.
#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "eval_tasks.h"
#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/eval/data_folder.h"
#include "nibble/eval/hellaswag.h"
#include "nibble/eval/winogrande.h"
#include "nibble/models/token_cost.h"

namespace nibble::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kHellaSwagQuestions = 400;  // llama.cpp's default
constexpr std::int64_t kRunningEvery = 100;        // questions to a line

/// `name` in `folder` under $NIBBLE_DATA, or in $NIBBLE_DATA itself.
fs::path default_file(const char* folder, const char* name) {
  if (const auto data = data_folder()) {
    for (const fs::path& place : {*data / folder / name, *data / name}) {
      if (file_exists(place)) return place;
    }
  }
  fail("no questions: name the file with --data, or put {} under $NIBBLE_DATA{}", name,
       data_folder_state());
}

std::vector<ChoiceQuestion> read_questions(const ChoiceFlags& flags, const Tokenizer& tokenizer) {
  const bool hellaswag = flags.task == "hellaswag";
  const char* name = hellaswag ? "hellaswag_val_full.txt" : "winogrande-debiased-eval.csv";
  const fs::path file =
      flags.data.empty() ? default_file(flags.task.c_str(), name) : fs::path(flags.data);
  std::vector<ChoiceQuestion> questions;
  if (hellaswag) {
    const std::int64_t count = flags.limit < 0 ? kHellaSwagQuestions : flags.limit;
    for (const HellaSwagItem& item : draw_hellaswag(load_hellaswag(file), count)) {
      questions.push_back(hellaswag_question(tokenizer, item));
    }
  } else {
    for (const WinoGrandeItem& item :
         draw_winogrande(load_winogrande(file), std::max<std::int64_t>(flags.limit, 0))) {
      questions.push_back(winogrande_question(tokenizer, item));
    }
  }
  return questions;
}

std::string shown(const ChoiceResult& result) {
  const Interval interval = wilson_interval(result);
  return fmt::format("{:.2f} % [{:.2f}, {:.2f}]", 100 * result.accuracy(), 100 * interval.low,
                     100 * interval.high);
}

}  // namespace

void eval_choices(const std::string& model_name, const ChoiceFlags& flags,
                  const ComputeFlags& compute, const CommonFlags& common) {
  const fs::path model_path = locate_model(model_name);
  const std::vector<ChoiceQuestion> questions =
      read_questions(flags, Checkpoint(model_path).load_tokenizer());
  ThreadPool pool(common.threads);
  Model model(model_path, pool, compute.options());
  Progress progress(flags.task, std::ssize(questions), "questions");
  const auto on_question = [&](const ChoiceResult& running) {
    if (!common.json && running.questions % kRunningEvery == 0) {
      hide_progress();
      print_text(fmt::format("[{}] {}\n", running.questions, shown(running)));
    }
    progress.set_note(shown(running));
    progress.advance(1);
  };
  const Stopwatch stopwatch;
  const ChoiceResult result = answer_choices(
      model, questions, compute.context > 0 ? compute.context : model.spec().context, on_question);
  const double seconds = stopwatch.seconds();
  hide_progress();
  if (!common.json) {
    fmt::print("{}, {} questions: {}, 95 % interval; standard error {:.2f} %\n", flags.task,
               result.questions, shown(result), 100 * result.standard_error());
    return;
  }
  const Interval interval = wilson_interval(result);
  print_json({{"task", flags.task},
              {"model", model_name},
              {"bits_per_weight",
               token_cost(model.checkpoint(), compute.options().dtype).bits_per_weight()},
              {"activations", activation_type_name(model.activations())},
              {"n", result.questions},
              {"correct", result.correct},
              {"accuracy", result.accuracy()},
              {"interval_95", {interval.low, interval.high}},
              {"standard_error", result.standard_error()},
              {"seconds", seconds}});
}

}  // namespace nibble::cli
