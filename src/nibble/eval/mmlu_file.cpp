#include "nibble/eval/mmlu_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/output.h"

namespace nibble {
namespace {

constexpr std::chrono::seconds kSaveEvery{5};

/// Throws Error if a setting of `file` is not what it is here.
void check_settings(const Json& file, const MmluResult& result, const std::string& origin) {
  const auto of_file = [&](const std::string& name) {
    const auto found = file.find(name);
    return found == file.end() ? Json() : *found;
  };
  if (of_file("task") != "mmlu") {
    fail("{}: no result of eval --task mmlu: name another file, or remove it", origin);
  }
  for (const auto& [name, value] : result.settings.items()) {
    if (name == "model" || of_file(name) == value) continue;  // a model may be moved
    if (name == "fingerprint") {
      fail("{}: holds answers of another model, {}, not of {}: name another file, or remove it",
           origin, of_file("model").dump(), result.settings["model"].dump());
    }
    fail("{}: holds answers with {} {}, this run has {}: name another file, or remove it", origin,
         name, of_file(name).dump(), value.dump());
  }
}

void load_subject(const JsonObject& file, MmluAnswers& answers) {
  const std::string letters = file.get_string("answers");
  const bool good = file.get_string("name") == answers.name &&
                    letters.size() == answers.answers.size() &&
                    letters.find_first_not_of("ABCD-.") == std::string::npos;
  if (!good) fail("{}: answers of {} expected", file.origin(), answers.name);
  answers.answers = letters;
  const auto ties = file.json().find("ties");
  if (ties == file.json().end() || !ties->is_array()) return;
  for (const Json& tie : *ties) {
    if (tie.is_number_integer()) answers.ties.push_back(tie.get<std::int64_t>());
  }
}

}  // namespace

MmluFile::MmluFile(std::filesystem::path path) : path_(std::move(path)) {
  if (!path_.empty()) OutputFile trial(path_);  // better now than after the first answers
}

void MmluFile::load(MmluResult& result) const {
  if (path_.empty() || !file_exists(path_)) return;
  const std::string origin = path_.string();
  const Json json = read_json_file(path_);
  const JsonObject file(json, origin);
  check_settings(json, result, origin);
  const auto subjects = json.find("subjects");
  if (subjects == json.end() || !subjects->is_array() ||
      subjects->size() != result.subjects.size()) {
    fail("{}: \"subjects\": expected a list of {}", origin, result.subjects.size());
  }
  for (std::size_t i = 0; i < subjects->size(); ++i) {
    load_subject(JsonObject((*subjects)[i], origin), result.subjects[i]);
  }
  result.seconds = file.get_number("seconds");
}

void MmluFile::save_sometimes(const MmluResult& result) {
  if (std::chrono::steady_clock::now() - saved_ >= kSaveEvery) save(result);
}

void MmluFile::save(const MmluResult& result) {
  if (path_.empty()) return;
  OutputFile file(path_);
  file.write(json_text(mmlu_json(result)) + "\n");
  file.commit();
  saved_ = std::chrono::steady_clock::now();
}

}  // namespace nibble
