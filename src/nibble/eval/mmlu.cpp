#include "nibble/eval/mmlu.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "nibble/core/interrupt.h"
#include "nibble/eval/mmlu_prompt.h"
#include "nibble/models/token_cost.h"
#include "nibble/runtime/finite.h"
#include "nibble/runtime/generate_many.h"

namespace nibble {
namespace {

// Questions to a pass: as many as a pass has rows for, and no more than their caches have memory
// for; of its own a question has two pages as a rule.
constexpr std::int64_t kBatchQuestions = 16;
constexpr std::int64_t kOwnPositions = 2 * kKvPagePositions;

constexpr std::int64_t kReplyTokens = 50;  // of a chat model

std::int64_t longest_prompt(const std::vector<MmluPrompts>& prompts) {
  std::size_t longest = 0;
  for (const MmluPrompts& subject : prompts) {
    longest = std::max(longest, subject.prefix.size());
    for (const auto& prompt : subject.prompts) longest = std::max(longest, prompt.size());
  }
  return static_cast<std::int64_t>(longest);
}

std::vector<std::size_t> not_asked(const MmluAnswers& answers) {
  std::vector<std::size_t> questions;
  for (std::size_t i = 0; i < answers.answers.size(); ++i) {
    if (answers.answers[i] == kNotAsked) questions.push_back(i);
  }
  return questions;
}

/// The letter with the largest logit, the first of several.
struct Choice {
  char letter;
  bool is_tie;
};

Choice choose(std::span<const float> logits, const std::array<std::int32_t, 4>& letters) {
  std::array<float, 4> of{};
  for (std::size_t i = 0; i < of.size(); ++i) of[i] = logits[static_cast<std::size_t>(letters[i])];
  const auto* const largest = std::max_element(of.begin(), of.end());
  return {static_cast<char>('A' + (largest - of.begin())),
          std::count(of.begin(), of.end(), *largest) > 1};
}

/// Asks a subject's questions by the logits behind them, in batches.
class LogitsAsker {
 public:
  LogitsAsker(Model& model, const SharedPrefix& shared, const MmluPrompts& prompts)
      : model_(model), shared_(shared), prompts_(prompts) {}

  /// How many of `questions`, up to `most`, fit in a pass.
  std::size_t batch_size(std::span<const std::size_t> questions, std::size_t most) const {
    std::size_t rows = 0;
    std::size_t count = 0;
    for (const std::size_t question : questions) {
      const auto& prompt = prompts_.prompts[question];
      rows +=
          prompt.size() - static_cast<std::size_t>(SharedPrefix::common(prompts_.prefix, prompt));
      if (count == most || (count > 0 && rows > static_cast<std::size_t>(kPassRows))) break;
      ++count;
    }
    return count;
  }

  void ask(std::span<const std::size_t> questions, const std::array<std::int32_t, 4>& letters,
           MmluAnswers& answers) {
    std::vector<KvCache> caches;
    for (const std::size_t question : questions) {
      caches.push_back(shared_.branch(prompts_.prompts[question]));
    }
    std::vector<SequenceTokens> sequences;
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const std::span<const std::int32_t> prompt = prompts_.prompts[questions[i]];
      sequences.push_back(
          {prompt.subspan(static_cast<std::size_t>(caches[i].length())), &caches[i]});
    }
    const auto vocab = static_cast<std::size_t>(model_.spec().vocab);
    logits_.resize(questions.size() * vocab);
    model_.forward_last(sequences, logits_.data());
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const auto row = std::span(logits_).subspan(i * vocab, vocab);
      check_finite(model_, row, prompts_.prompts[questions[i]]);
      const Choice choice = choose(row, letters);
      answers.answers[questions[i]] = choice.letter;
      if (choice.is_tie) answers.ties.push_back(static_cast<std::int64_t>(questions[i]));
    }
  }

 private:
  Model& model_;
  const SharedPrefix& shared_;
  const MmluPrompts& prompts_;
  std::vector<float> logits_;  // (questions, vocab)
};

}  // namespace

MmluRun::MmluRun(Model& model, const Tokenizer& tokenizer, const std::vector<MmluSubject>& subjects,
                 const MmluOptions& options)
    : model_(model),
      tokenizer_(tokenizer),
      subjects_(subjects),
      options_(options),
      encoder_(tokenizer, options.chat,
               options.context > 0 ? options.context : model.spec().context),
      prompts_(subjects.size()) {
  model.compute().pool().parallel_for(std::ssize(subjects), [&](std::int64_t i, int) {
    const auto at = static_cast<std::size_t>(i);
    prompts_[at] = encoder_.encode(subjects[at]);
    if (options_.one_by_one) prompts_[at].prefix.clear();
  });
  const TokenCost cost = token_cost(model.checkpoint(), DType::kBF16);
  const LinearSpec& head = model.spec().head;  // only a prompt's last position goes through it
  operations_ = cost.operations - 2.0 * static_cast<double>(head.in * head.out);
  attention_operations_ = cost.attention_operations;
  at_once_ = options.one_by_one ? 1 : caches_in_memory(model, kOwnPositions, kBatchQuestions);
}

std::vector<MmluAnswers> MmluRun::unanswered() const {
  std::vector<MmluAnswers> all;
  for (std::size_t i = 0; i < subjects_.size(); ++i) {
    MmluAnswers answers{.name = subjects_[i].name, .category = subjects_[i].category};
    for (const MmluQuestion& question : subjects_[i].questions) answers.key += question.answer;
    answers.answers.assign(answers.key.size(), kNotAsked);
    answers.fewer_shots = prompts_[i].fewer_shots;
    all.push_back(std::move(answers));
  }
  return all;
}

double MmluRun::positions_work(std::int64_t first, std::int64_t end) const {
  const auto count = static_cast<double>(end - first);
  const double mean_seen = 0.5 * static_cast<double>(first + end + 1);
  return count * (operations_ + attention_operations_ * mean_seen);
}

double MmluRun::prefix_work(std::size_t subject) const {
  return options_.chat != nullptr ? 0 : positions_work(0, std::ssize(prompts_[subject].prefix));
}

double MmluRun::question_work(std::size_t subject, std::size_t question) const {
  if (options_.chat != nullptr) return 1;
  const auto& prompt = prompts_[subject].prompts[question];
  return positions_work(SharedPrefix::common(prompts_[subject].prefix, prompt), std::ssize(prompt));
}

double MmluRun::work(const std::vector<MmluAnswers>& answers) const {
  double sum = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const std::vector<std::size_t> questions = not_asked(answers[i]);
    if (!questions.empty()) sum += prefix_work(i);
    for (const std::size_t question : questions) sum += question_work(i, question);
  }
  return sum;
}

void MmluRun::run(std::vector<MmluAnswers>& answers, FunctionRef<void(const MmluStep&)> on_step) {
  const bool chat = options_.chat != nullptr;
  SharedPrefix shared(model_, longest_prompt(prompts_) + (chat ? kReplyTokens : 0), at_once_);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const std::vector<std::size_t> questions = not_asked(answers[i]);
    if (questions.empty()) continue;
    shared.set(prompts_[i].prefix);
    on_step({i, 0, prefix_work(i)});
    if (chat) {
      ask_chat(i, shared, questions, answers[i], on_step);
    } else {
      ask_base(i, shared, questions, answers[i], on_step);
    }
  }
}

void MmluRun::ask_base(std::size_t subject, const SharedPrefix& shared,
                       std::span<const std::size_t> questions, MmluAnswers& answers,
                       FunctionRef<void(const MmluStep&)> on_step) {
  LogitsAsker asker(model_, shared, prompts_[subject]);
  while (!questions.empty()) {
    check_interrupt();
    const auto batch =
        questions.first(asker.batch_size(questions, static_cast<std::size_t>(at_once_)));
    questions = questions.subspan(batch.size());
    asker.ask(batch, encoder_.letters(), answers);
    MmluStep step{subject, std::ssize(batch), 0};
    for (const std::size_t question : batch) step.work += question_work(subject, question);
    on_step(step);
  }
}

void MmluRun::ask_chat(std::size_t subject, const SharedPrefix& shared,
                       std::span<const std::size_t> questions, MmluAnswers& answers,
                       FunctionRef<void(const MmluStep&)> on_step) {
  const GenerateOptions generate{.max_tokens = kReplyTokens, .end_ids = tokenizer_.end_ids()};
  const auto question = [&](std::int64_t i) { return questions[static_cast<std::size_t>(i)]; };
  const auto start = [&](std::int64_t i) {
    const auto& prompt = prompts_[subject].prompts[question(i)];
    KvCache cache = shared.branch(prompt);
    const std::int64_t capacity = cache.capacity();
    return SequenceRun{Sequence(tokenizer_, model_.spec(), prompt, capacity, generate),
                       std::move(cache)};
  };
  const auto on_done = [&](std::int64_t i, const Generation& reply) {
    const MmluQuestion& asked = subjects_[subject].questions[question(i)];
    answers.answers[question(i)] = read_mmlu_letter(reply.text, asked).value_or(kNoLetter);
    on_step({subject, 1, question_work(subject, question(i))});
  };
  generate_many(model_, std::ssize(questions), at_once_, start, on_done);
}

}  // namespace nibble
