#include "nibble/eval/mmlu_prompt.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "nibble/core/ascii.h"
#include "nibble/core/regex.h"

namespace nibble {
namespace {

constexpr std::string_view kInstruction =
    "The following is a multiple-choice question. Please choose the most suitable one among A, B, "
    "C and D as the answer to this question.\n\n";

std::string choices_text(const MmluQuestion& question) {
  std::string text;
  for (std::size_t i = 0; i < question.choices.size(); ++i) {
    text += fmt::format("\n{}. {}", static_cast<char>('A' + i), question.choices[i]);
  }
  return text;
}

/// A pattern whose match ends with the letter, but for characters that cannot be taken for one.
class LetterPattern {
 public:
  explicit LetterPattern(std::string_view pattern) : regex_(pattern, "letter of a reply") {}

  std::optional<char> find(std::string_view text) const {
    const std::optional<Span> match = regex_.find(text, 0);
    if (!match) return std::nullopt;
    const std::string_view found = text.substr(match->begin, match->end - match->begin);
    return found[found.find_last_of("ABCD")];
  }

 private:
  Regex regex_;
};

/// From the surest to the least sure; between the last two comes the text of a choice.
const std::array<LetterPattern, 4>& letter_patterns() {
  static const std::array<LetterPattern, 4> patterns = {
      // "B", "(B) because", "**B.** ...", but not "A good question"
      LetterPattern(R"(\A[\s*_"'(\[]*[ABCD](?=[\s*_"')\]]*(?:[.,:;)\]]|\n|\z)))"),
      // "The answer is: **(B)**", "correct option would be B", "I choose B"; not "is not B"
      LetterPattern(
          R"((?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b(?:(?!\bnot\b|n't|[ABCD]\b)[^.\n]){0,40}?)"
          R"((?:\b(?:is|be)\b|:)[\s:*_"'(\[]*(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+)?)"
          R"([*_"'(\[]*[ABCD](?![A-Za-z'])(?!\s+[a-z]))"
          R"(|\b[Cc]h(?:oo|o)se\s+(?:(?:[Oo]ption|[Cc]hoice)\s+)?[*_"'(\[]*[ABCD]\b)"),
      // "B is the right choice"
      LetterPattern(R"((?<![A-Za-z])[ABCD](?=[)\]*_"']*\s+(?:is|would be|seems)\s+)"
                    R"((?!not\b)(?:\w+\s+){0,3}?(?:correct|right|best|most suitable|answer)\b))"),
      // any by itself; "A" only where no word follows that it could be the article of
      LetterPattern(R"((?<![A-Za-z'])(?:[BCD](?![A-Za-z'])|A(?![A-Za-z'])(?!\s+[a-z])))"),
  };
  return patterns;
}

/// The choice whose text the reply has; of several the longest, of equally long ones none.
std::optional<char> find_choice(std::string_view reply, const MmluQuestion& question) {
  const std::string text = lower_case(reply);
  std::optional<char> found;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < question.choices.size(); ++i) {
    std::string choice = lower_case(question.choices[i]);
    while (!choice.empty() && (choice.back() == '.' || choice.back() == ' ')) choice.pop_back();
    if (choice.size() < std::max<std::size_t>(longest, 2) || text.find(choice) == text.npos) {
      continue;
    }
    found = choice.size() > longest ? std::optional(static_cast<char>('A' + i)) : std::nullopt;
    longest = choice.size();
  }
  return found;
}

}  // namespace

std::string mmlu_shots_text(const MmluSubject& subject, std::size_t shots) {
  std::string name = subject.name;
  std::replace(name.begin(), name.end(), '_', ' ');
  std::string text =
      fmt::format("The following are multiple choice questions (with answers) about {}.\n\n", name);
  for (std::size_t i = 0; i < std::min(shots, subject.shots.size()); ++i) {
    text += fmt::format("{} {}\n\n", mmlu_question_text(subject.shots[i]), subject.shots[i].answer);
  }
  return text;
}

std::string mmlu_question_text(const MmluQuestion& question) {
  return fmt::format("Question: {}{}\nAnswer:", question.question, choices_text(question));
}

std::string_view mmlu_chat_instruction() {
  return kInstruction;
}

std::string mmlu_chat_message(const MmluQuestion& question) {
  return fmt::format("{}{}{}\n", kInstruction, question.question, choices_text(question));
}

std::optional<char> read_mmlu_letter(std::string_view reply, const MmluQuestion& question) {
  const auto& patterns = letter_patterns();
  for (std::size_t i = 0; i < 3; ++i) {
    if (const auto letter = patterns[i].find(reply)) return letter;
  }
  if (const auto letter = find_choice(reply, question)) return letter;
  return patterns[3].find(reply);
}

}  // namespace nibble
