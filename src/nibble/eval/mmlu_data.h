// The questions of MMLU (Hendrycks et al. 2020, "Measuring Massive Multitask Language
// Understanding"), from the CSV files that its authors publish.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct MmluQuestion {
  std::string question;
  std::array<std::string, 4> choices;
  char answer = 'A';  // 'A' .. 'D'
};

struct MmluSubject {
  std::string name;      // "abstract_algebra"
  std::string category;  // "stem", "humanities", "social_sciences", "other"
  std::vector<MmluQuestion> shots;
  std::vector<MmluQuestion> questions;
};

/// The 57 subjects, by name.
const std::vector<std::string>& mmlu_subjects();

/// The category of a subject as lm-evaluation-harness has it; "other" for one that is not of the
/// 57.
std::string mmlu_category(std::string_view subject);

/// "stem", "humanities", "social_sciences", "other".
const std::vector<std::string>& mmlu_categories();

/// A list of names with commas between them, or "all". Throws Error for one that is neither of the
/// 57 nor has a file in `folder`.
std::vector<std::string> parse_mmlu_subjects(const std::string& list,
                                             const std::filesystem::path& folder);

/// Up to five shots of dev/<name>_dev.csv and the first `limit` questions (0: all) of
/// test/<name>_test.csv, each record of which is question, A, B, C, D, answer. Throws Error as
/// "file:line: ..." for a record of another form, and if there is not one question.
MmluSubject load_mmlu_subject(const std::filesystem::path& folder, const std::string& name,
                              std::int64_t limit);

/// mmlu under $NIBBLE_DATA, or $NIBBLE_DATA itself. Throws Error saying where to get the files.
std::filesystem::path default_mmlu_folder();

}  // namespace nibble
