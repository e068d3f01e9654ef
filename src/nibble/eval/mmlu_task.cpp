#include "nibble/eval/mmlu_task.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "nibble/core/ascii.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/eval/fingerprint.h"
#include "nibble/eval/mmlu_file.h"
#include "nibble/eval/mmlu_scores.h"
#include "nibble/models/token_cost.h"
#include "nibble/ops/activation_type.h"

namespace nibble {
namespace {

std::string last_part(std::string_view model_name) {
  const std::size_t end = model_name.find_last_not_of('/');
  if (end == std::string_view::npos) return {};
  model_name = model_name.substr(0, end + 1);
  return std::string(model_name.substr(model_name.find_last_of('/') + 1));
}

/// The model's chat format, if it is asked in chat.
std::optional<ChatFormat> chat_format(const Model& model, const MmluTask& task) {
  if (task.style == MmluStyle::kBase) return std::nullopt;
  const std::filesystem::path& path = model.checkpoint().path();
  if (task.style == MmluStyle::kChat) return ChatFormat::load(path);
  const std::string& name = task.style_name.empty() ? task.model_name : task.style_name;
  if (mmlu_style_for(name) == MmluStyle::kBase) return std::nullopt;
  try {
    return ChatFormat::load(path);
  } catch (const Error& error) {
    warn("asked as a base model: {}", error.what());
    return std::nullopt;
  }
}

const char* kv_type_name(KvType kv) {
  return kv == KvType::kF32 ? "f32" : kv == KvType::kInt8 ? "int8" : "bf16";
}

Json settings_of(const Model& model, const MmluTask& task, const MmluRun& run, MmluStyle style) {
  return {{"model", task.model_name},
          {"fingerprint", model_fingerprint(model.checkpoint())},
          {"style", mmlu_style_name(style)},
          {"dtype", lower_case(dtype_name(task.compute.dtype))},
          {"activations", activation_type_name(model.activations())},
          {"kv", kv_type_name(task.compute.kv)},
          {"limit", task.limit},
          {"prompts_sha256", run.prompts_sha256()}};
}

/// Shows how far a run has come, and keeps what it has answered.
class Listener {
 public:
  Listener(MmluFile& file, MmluResult& result, double work, bool chat)
      : file_(file),
        result_(result),
        work_(work),
        seconds_before_(result.seconds),
        progress_("MMLU", std::llround(work), chat ? "questions" : "op") {}

  void on_step(const MmluStep& step) {
    done_ += step.work;
    result_.seconds = seconds_before_ + stopwatch_.seconds();
    const MmluAnswers& subject = result_.subjects[step.subject];
    progress_.set_note(subject.name);
    progress_.advance(std::llround(done_) - shown_);
    shown_ = std::llround(done_);
    if (step.questions == 0) return;
    file_.save_sometimes(result_);
    const bool is_done = subject.answers.find(kNotAsked) == std::string::npos;
    if (is_done) tell(step.subject);
  }

 private:
  void tell(std::size_t number) const {
    const MmluAnswers& subject = result_.subjects[number];
    const double seconds = stopwatch_.seconds();
    verbose("{} of {}: {}, {} of {} right; {:.0f} s, {:.0f} s left", number + 1,
            result_.subjects.size(), subject.name, count_correct(subject), subject.key.size(),
            seconds, seconds / done_ * (work_ - done_));
  }

  MmluFile& file_;
  MmluResult& result_;
  double work_;
  double seconds_before_;
  double done_ = 0;
  std::int64_t shown_ = 0;
  Progress progress_;
  Stopwatch stopwatch_;
};

Json error_json(const MmluScore& score) {
  return score.error ? Json(*score.error) : Json();
}

Json subject_json(const MmluAnswers& answers) {
  const MmluScore score = subject_score(answers);
  return {{"name", answers.name},
          {"category", answers.category},
          {"n", count_answered(answers)},
          {"correct", count_correct(answers)},
          {"accuracy", score.accuracy},
          {"standard_error", error_json(score)},
          {"answers", answers.answers},
          {"ties", answers.ties},
          {"unread", count_unread(answers)},
          {"fewer_shots", answers.fewer_shots}};
}

Json means_json(const MmluMeans& means) {
  return {{"n", means.questions},
          {"correct", means.correct},
          {"accuracy", means.micro.accuracy},
          {"standard_error", error_json(means.micro)},
          {"macro_accuracy", means.macro.accuracy},
          {"macro_standard_error", error_json(means.macro)}};
}

}  // namespace

const char* mmlu_style_name(MmluStyle style) {
  return style == MmluStyle::kChat ? "chat" : "base";
}

MmluStyle mmlu_style_for(std::string_view model_name) {
  const std::string name = lower_case(last_part(model_name));
  return name.find("chat") == std::string::npos ? MmluStyle::kBase : MmluStyle::kChat;
}

MmluResult evaluate_mmlu(Model& model, const MmluTask& task) {
  MmluFile file(task.file);
  std::vector<MmluSubject> subjects;
  for (const std::string& name : task.subjects) {
    subjects.push_back(load_mmlu_subject(task.folder, name, task.limit));
  }
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  const std::optional<ChatFormat> chat = chat_format(model, task);
  MmluRun run(
      model, tokenizer, subjects,
      {.chat = chat ? &*chat : nullptr, .context = task.context, .one_by_one = task.one_by_one});
  const MmluStyle style = chat ? MmluStyle::kChat : MmluStyle::kBase;
  MmluResult result{
      .settings = settings_of(model, task, run, style),
      .subjects = run.unanswered(),
      .bits_per_weight = token_cost(model.checkpoint(), task.compute.dtype).bits_per_weight()};
  file.load(result);
  Listener listener(file, result, run.work(result.subjects), chat.has_value());
  const auto on_step = [&](const MmluStep& step) { listener.on_step(step); };
  try {
    run.run(result.subjects, on_step);
  } catch (...) {
    file.save(result);
    throw;
  }
  file.save(result);
  return result;
}

Json mmlu_json(const MmluResult& result) {
  Json json = {{"task", "mmlu"}};
  json.update(result.settings);
  json["bits_per_weight"] = result.bits_per_weight;
  json["subjects"] = Json::array();
  for (const MmluAnswers& answers : result.subjects) {
    json["subjects"].push_back(subject_json(answers));
  }
  json["categories"] = Json::array();
  for (const std::string& category : mmlu_categories()) {
    const MmluMeans means = mmlu_means(result.subjects, category);
    if (means.subjects == 0) continue;
    Json entry = {{"name", category}, {"subjects", means.subjects}};
    entry.update(means_json(means));
    json["categories"].push_back(std::move(entry));
  }
  const MmluMeans all = mmlu_means(result.subjects);
  json.update(means_json(all));
  json["seconds"] = result.seconds;
  json["questions_per_second"] = static_cast<double>(all.questions) / result.seconds;
  return json;
}

}  // namespace nibble
