// What the answers to MMLU come to: accuracy of subjects, categories and all, each with its
// standard error. Questions that were not asked yet do not count.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/eval/mmlu.h"

namespace nibble {

struct MmluScore {
  double accuracy = 0;          // NaN of no questions
  std::optional<double> error;  // standard error; none where a subject has less than two questions
};

/// Of one subject: a share p of n, with sqrt(p (1 - p) / (n - 1)).
MmluScore subject_score(const MmluAnswers& answers);
std::int64_t count_answered(const MmluAnswers& answers);
std::int64_t count_correct(const MmluAnswers& answers);
/// Those whose reply has no letter.
std::int64_t count_unread(const MmluAnswers& answers);

/// Of several subjects. The subjects are what they are, only their questions are a sample: the
/// error of a mean with weights w is sqrt(sum w^2 error^2).
struct MmluMeans {
  std::int64_t subjects = 0;  // with answers
  std::int64_t questions = 0;
  std::int64_t correct = 0;
  MmluScore micro;  // every question counts alike
  MmluScore macro;  // every subject does
};

/// Of those of a category; of all if it is empty.
MmluMeans mmlu_means(const std::vector<MmluAnswers>& all, std::string_view category = {});

}  // namespace nibble
