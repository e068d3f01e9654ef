#include "nibble/eval/mmlu_data.h"

#include <algorithm>
#include <optional>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/nearest_name.h"
#include "nibble/eval/data_folder.h"
#include "nibble/formats/csv.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kShots = 5;

struct Subject {
  const char* name;
  const char* category;
};

constexpr const char* kStem = "stem";
constexpr const char* kHumanities = "humanities";
constexpr const char* kSocial = "social_sciences";
constexpr const char* kOther = "other";

constexpr std::array<Subject, 57> kSubjects{{
    {"abstract_algebra", kStem},
    {"anatomy", kStem},
    {"astronomy", kStem},
    {"business_ethics", kOther},
    {"clinical_knowledge", kOther},
    {"college_biology", kStem},
    {"college_chemistry", kStem},
    {"college_computer_science", kStem},
    {"college_mathematics", kStem},
    {"college_medicine", kOther},
    {"college_physics", kStem},
    {"computer_security", kStem},
    {"conceptual_physics", kStem},
    {"econometrics", kSocial},
    {"electrical_engineering", kStem},
    {"elementary_mathematics", kStem},
    {"formal_logic", kHumanities},
    {"global_facts", kOther},
    {"high_school_biology", kStem},
    {"high_school_chemistry", kStem},
    {"high_school_computer_science", kStem},
    {"high_school_european_history", kHumanities},
    {"high_school_geography", kSocial},
    {"high_school_government_and_politics", kSocial},
    {"high_school_macroeconomics", kSocial},
    {"high_school_mathematics", kStem},
    {"high_school_microeconomics", kSocial},
    {"high_school_physics", kStem},
    {"high_school_psychology", kSocial},
    {"high_school_statistics", kStem},
    {"high_school_us_history", kHumanities},
    {"high_school_world_history", kHumanities},
    {"human_aging", kOther},
    {"human_sexuality", kSocial},
    {"international_law", kHumanities},
    {"jurisprudence", kHumanities},
    {"logical_fallacies", kHumanities},
    {"machine_learning", kStem},
    {"management", kOther},
    {"marketing", kOther},
    {"medical_genetics", kOther},
    {"miscellaneous", kOther},
    {"moral_disputes", kHumanities},
    {"moral_scenarios", kHumanities},
    {"nutrition", kOther},
    {"philosophy", kHumanities},
    {"prehistory", kHumanities},
    {"professional_accounting", kOther},
    {"professional_law", kHumanities},
    {"professional_medicine", kOther},
    {"professional_psychology", kSocial},
    {"public_relations", kSocial},
    {"security_studies", kSocial},
    {"sociology", kSocial},
    {"us_foreign_policy", kSocial},
    {"virology", kOther},
    {"world_religions", kHumanities},
}};

fs::path shots_file(const fs::path& folder, const std::string& subject) {
  return folder / "dev" / (subject + "_dev.csv");
}

fs::path questions_file(const fs::path& folder, const std::string& subject) {
  return folder / "test" / (subject + "_test.csv");
}

MmluQuestion parse_question(const CsvRecord& record, const std::string& origin) {
  const std::vector<std::string>& fields = record.fields;
  if (fields.size() != 6) {
    fail("{}:{}: expected 6 columns (question, A, B, C, D, answer), found {}", origin, record.line,
         fields.size());
  }
  const std::string& answer = fields[5];
  if (answer.size() != 1 || answer[0] < 'A' || answer[0] > 'D') {
    fail("{}:{}: the answer: expected A, B, C or D, found \"{}\"", origin, record.line, answer);
  }
  return {fields[0], {fields[1], fields[2], fields[3], fields[4]}, answer[0]};
}

/// The first `limit` questions of a file; all are looked at.
std::vector<MmluQuestion> read_questions(const fs::path& file, std::size_t limit) {
  const std::string origin = file.string();
  std::vector<MmluQuestion> questions;
  for (const CsvRecord& record : parse_csv(read_text_file(file), origin)) {
    questions.push_back(parse_question(record, origin));
  }
  if (questions.empty()) fail("{}: no questions", origin);
  if (questions.size() > limit) questions.resize(limit);
  return questions;
}

void check_subject(const std::string& name, const fs::path& folder) {
  const std::vector<std::string>& known = mmlu_subjects();
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  const bool is_a_name = !name.empty() && name.find('/') == std::string::npos;
  if (is_a_name && file_exists(questions_file(folder, name))) return;
  const std::optional<std::string> nearest = nearest_name(name, known);
  fail("--subjects: unknown subject \"{}\"{}; expected \"all\" or names with commas between them",
       name, nearest ? fmt::format(", did you mean {}?", *nearest) : std::string());
}

}  // namespace

const std::vector<std::string>& mmlu_subjects() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Subject& subject : kSubjects) all.emplace_back(subject.name);
    return all;
  }();
  return names;
}

std::string mmlu_category(std::string_view subject) {
  const auto* const found =
      std::find_if(kSubjects.begin(), kSubjects.end(),
                   [&](const Subject& known) { return known.name == subject; });
  return found == kSubjects.end() ? kOther : found->category;
}

const std::vector<std::string>& mmlu_categories() {
  static const std::vector<std::string> names = {kStem, kHumanities, kSocial, kOther};
  return names;
}

std::vector<std::string> parse_mmlu_subjects(const std::string& list, const fs::path& folder) {
  if (list == "all") return mmlu_subjects();
  std::vector<std::string> names;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::string name = list.substr(at, end - at);
    check_subject(name, folder);
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      fail("--subjects: {} is named twice", name);
    }
    names.push_back(name);
    at = end + 1;
  }
  return names;
}

MmluSubject load_mmlu_subject(const fs::path& folder, const std::string& name, std::int64_t limit) {
  const std::size_t most = limit > 0 ? static_cast<std::size_t>(limit) : SIZE_MAX;
  return {name, mmlu_category(name), read_questions(shots_file(folder, name), kShots),
          read_questions(questions_file(folder, name), most)};
}

fs::path default_mmlu_folder() {
  if (const auto data = data_folder()) {
    for (const char* place : {"mmlu", "."}) {
      const fs::path folder = (*data / place).lexically_normal();
      if (fs::is_directory(folder / "dev") && fs::is_directory(folder / "test")) return folder;
    }
  }
  fail(
      "no MMLU questions: name their folder with --data, or put it as mmlu under $NIBBLE_DATA{} "
      "(dev/<subject>_dev.csv and test/<subject>_test.csv, as the authors' data.tar has them)",
      data_folder_state());
}

}  // namespace nibble
