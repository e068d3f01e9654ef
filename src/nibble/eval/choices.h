// Questions with several texts as answers, of which the model takes the likeliest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/runtime/model.h"

namespace nibble {

/// One text of a question, and the tokens of it that count: first .. end - 1, of which there is
/// one at least, and none is the first token of all.
struct ChoiceText {
  std::vector<std::int32_t> tokens;
  std::int64_t first = 0;
  std::int64_t end = 0;
};

struct ChoiceQuestion {
  std::vector<ChoiceText> texts;
  std::size_t right = 0;  // of texts
};

/// How many tokens all texts begin with; one less than the shortest has at the most.
std::int64_t common_tokens(const std::vector<ChoiceText>& texts);

struct ChoiceResult {
  std::int64_t questions = 0;
  std::int64_t correct = 0;

  double accuracy() const;
  /// sqrt(p (1 - p) / (n - 1)); NaN for one question.
  double standard_error() const;
};

struct Interval {
  double low;
  double high;
};
/// Wilson's 95 % interval of a share (Wilson 1927, "Probable Inference, the Law of Succession, and
/// Statistical Inference").
Interval wilson_interval(const ChoiceResult& result);

/// Takes of each question the text with the largest mean of ln p over the tokens that count, the
/// first of equal ones; calls `on_question` after each. What the texts of a question have in common
/// is computed once, several questions in a pass. Throws Error for a text longer than `context`.
ChoiceResult answer_choices(Model& model, const std::vector<ChoiceQuestion>& questions,
                            std::int64_t context,
                            FunctionRef<void(const ChoiceResult&)> on_question);

}  // namespace nibble
