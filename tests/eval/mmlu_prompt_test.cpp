#include "nibble/eval/mmlu_prompt.h"

#include <gmock/gmock.h>

namespace nibble {
namespace {

const MmluQuestion kTea{"What is tea brewed with?", {"Sand", "Hot water", "Water", "Light."}, 'B'};

TEST(MmluPrompt, ShotsAndQuestion) {
  const MmluSubject subject{
      "tea_making", "other", {kTea, {"Which leaf?", {"w", "x", "y", "z"}, 'D'}}, {}};
  const std::string line =
      "The following are multiple choice questions (with answers) about tea making.\n\n";
  const std::string first =
      "Question: What is tea brewed with?\nA. Sand\nB. Hot water\nC. Water\nD. Light.\nAnswer:";
  EXPECT_EQ(mmlu_question_text(kTea), first);
  EXPECT_EQ(mmlu_shots_text(subject, 0), line);
  EXPECT_EQ(mmlu_shots_text(subject, 1), line + first + " B\n\n");
  const std::string both =
      line + first + " B\n\nQuestion: Which leaf?\nA. w\nB. x\nC. y\nD. z\nAnswer: D\n\n";
  EXPECT_EQ(mmlu_shots_text(subject, 2), both);
  EXPECT_EQ(mmlu_shots_text(subject, 5), both);
}

TEST(MmluPrompt, ChatMessage) {
  EXPECT_EQ(mmlu_chat_message(kTea),
            std::string(mmlu_chat_instruction()) +
                "What is tea brewed with?\nA. Sand\nB. Hot water\nC. Water\nD. Light.\n");
}

TEST(MmluLetter, IsReadOutOfReplies) {
  struct Case {
    const char* reply;
    char letter;  // '-': none
  };
  for (const auto& [reply, letter] : std::initializer_list<Case>{
           {"B", 'B'},
           {" C.", 'C'},
           {"(D) because it is.", 'D'},
           {"**A.** Sand", 'A'},
           {"A\nSince sand is hot", 'A'},
           {"B. Hot water\n\nA is wrong.", 'B'},
           {"The answer is C.", 'C'},
           {"The correct answer is: **D**", 'D'},
           {"The correct answer is option B.", 'B'},
           {"Answer: (C)", 'C'},
           {"The most suitable choice would be \"D. Light\".", 'D'},
           {"The answer is not A. The answer is B.", 'B'},
           {"I would choose C because of the water.", 'C'},
           {"Among them, C is the most suitable one, not A.", 'C'},
           {"B is correct", 'B'},
           {"A good question. It is D", 'D'},
           {"One takes hot water.", 'B'},  // the longest choice that it has
           {"It would be light", 'D'},
           {"The answer is a matter of taste: sand.", 'A'},
           {"A kettle", '-'},
           {"Coffee, Beer, Cocoa", '-'},
           {"", '-'},
           {"Neither", '-'},
       }) {
    EXPECT_EQ(read_mmlu_letter(reply, kTea).value_or('-'), letter) << reply;
  }
}

TEST(MmluLetter, EquallyLongChoicesDecideNothing) {
  const MmluQuestion numbers{"2 + 2?", {"40", "41", "4", "5"}, 'C'};
  EXPECT_EQ(read_mmlu_letter("40 or 41", numbers), std::nullopt);
  EXPECT_EQ(read_mmlu_letter("it is 41", numbers), 'B');
}

}  // namespace
}  // namespace nibble
