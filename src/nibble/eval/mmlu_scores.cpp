#include "nibble/eval/mmlu_scores.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

/// The mean over subjects with these weights, whose sum is 1.
class WeightedMean {
 public:
  void add(const MmluScore& score, double weight) {
    accuracy_ += weight * score.accuracy;
    if (score.error) {
      variance_ += weight * weight * *score.error * *score.error;
    } else {
      has_error_ = false;
    }
  }
  MmluScore score() const {
    return {accuracy_, has_error_ ? std::optional(std::sqrt(variance_)) : std::nullopt};
  }

 private:
  double accuracy_ = 0;
  double variance_ = 0;
  bool has_error_ = true;
};

}  // namespace

std::int64_t count_correct(const MmluAnswers& answers) {
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < answers.key.size(); ++i) {
    if (answers.answers[i] == answers.key[i]) ++correct;
  }
  return correct;
}

std::int64_t count_answered(const MmluAnswers& answers) {
  return std::ssize(answers.answers) -
         std::count(answers.answers.begin(), answers.answers.end(), kNotAsked);
}

std::int64_t count_unread(const MmluAnswers& answers) {
  return std::count(answers.answers.begin(), answers.answers.end(), kNoLetter);
}

MmluScore subject_score(const MmluAnswers& answers) {
  const auto n = static_cast<double>(count_answered(answers));
  const double p = static_cast<double>(count_correct(answers)) / n;
  if (n < 2) return {p, std::nullopt};
  return {p, std::sqrt(p * (1 - p) / (n - 1))};
}

MmluMeans mmlu_means(const std::vector<MmluAnswers>& all, std::string_view category) {
  MmluMeans means;
  const auto counts = [&](const MmluAnswers& answers) {
    return count_answered(answers) > 0 && (category.empty() || answers.category == category);
  };
  for (const MmluAnswers& answers : all) {
    if (!counts(answers)) continue;
    ++means.subjects;
    means.questions += count_answered(answers);
    means.correct += count_correct(answers);
  }
  WeightedMean micro;
  WeightedMean macro;
  for (const MmluAnswers& answers : all) {
    if (!counts(answers)) continue;
    const MmluScore score = subject_score(answers);
    micro.add(score,
              static_cast<double>(count_answered(answers)) / static_cast<double>(means.questions));
    macro.add(score, 1 / static_cast<double>(means.subjects));
  }
  means.micro = micro.score();
  means.macro = macro.score();
  return means;
}

}  // namespace nibble
