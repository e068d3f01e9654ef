// MMLU: which letter a model gives to each question. A base model's is the likeliest token behind
// five answered questions of the subject; these are computed once a subject, and the questions
// share them (SharedPrefix) and run several to a pass. A chat model is asked in its own format, and
// the letter is read out of the reply.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/eval/mmlu_encode.h"
#include "nibble/eval/shared_prefix.h"
#include "nibble/runtime/model.h"

namespace nibble {

constexpr char kNotAsked = '.';
constexpr char kNoLetter = '-';

/// What a model answered to a subject.
struct MmluAnswers {
  std::string name;
  std::string category;
  std::string key;                 // the right letters, one a question
  std::string answers;             // as many: 'A' .. 'D', kNoLetter or kNotAsked
  std::vector<std::int64_t> ties;  // questions, from 0, where several letters share the largest
                                   // logit; the first of them counts
  std::int64_t fewer_shots = 0;    // questions too long for all shots to fit in the context
};

struct MmluOptions {
  const ChatFormat* chat = nullptr;  // null: as a base model
  std::int64_t context = 0;          // positions; 0: the model's
  bool one_by_one = false;           // each question by itself, nothing shared
};

/// Some questions of a subject were answered.
struct MmluStep {
  std::size_t subject = 0;  // its number
  std::int64_t questions = 0;
  double work = 0;  // their part of MmluRun::work()
};

class MmluRun {
 public:
  /// Encodes all prompts. Everything must outlive this. Throws Error as MmluEncoder does.
  MmluRun(Model& model, const Tokenizer& tokenizer, const std::vector<MmluSubject>& subjects,
          const MmluOptions& options);

  /// All subjects, nothing asked yet.
  std::vector<MmluAnswers> unanswered() const;
  /// The same questions, tokenizer and template give the same.
  std::string prompts_sha256() const { return nibble::prompts_sha256(prompts_); }
  /// What it takes to answer what is left: operations; of a chat model questions, as nobody knows
  /// how long it will talk.
  double work(const std::vector<MmluAnswers>& answers) const;

  /// Asks what was not asked yet, subject by subject, and calls `on_step` when `answers` hold more.
  /// Throws Error as Model::forward() does, and Interrupted; what `answers` hold then is good.
  void run(std::vector<MmluAnswers>& answers, FunctionRef<void(const MmluStep&)> on_step);

 private:
  /// Of computing positions first .. end - 1 of a sequence.
  double positions_work(std::int64_t first, std::int64_t end) const;
  double prefix_work(std::size_t subject) const;
  double question_work(std::size_t subject, std::size_t question) const;
  void ask_base(std::size_t subject, const SharedPrefix& shared,
                std::span<const std::size_t> questions, MmluAnswers& answers,
                FunctionRef<void(const MmluStep&)> on_step);
  void ask_chat(std::size_t subject, const SharedPrefix& shared,
                std::span<const std::size_t> questions, MmluAnswers& answers,
                FunctionRef<void(const MmluStep&)> on_step);

  Model& model_;
  const Tokenizer& tokenizer_;
  const std::vector<MmluSubject>& subjects_;
  MmluOptions options_;
  MmluEncoder encoder_;
  std::vector<MmluPrompts> prompts_;  // of each subject
  std::int64_t at_once_;              // questions
  double operations_ = 0;             // of a position: linear layers
  double attention_operations_ = 0;   // of a position, for each that it sees
};

}  // namespace nibble
