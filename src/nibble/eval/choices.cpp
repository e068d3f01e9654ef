#include "nibble/eval/choices.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/eval/shared_prefix.h"
#include "nibble/eval/token_scores.h"

namespace nibble {
namespace {

// Questions to a pass: as many as it has rows for, and no more than memory has caches for.
constexpr std::int64_t kMostCaches = 64;

std::int64_t size(const ChoiceText& text) {
  return std::ssize(text.tokens);
}

/// The longest text. Throws Error if it does not fit, or if nothing of one counts.
std::int64_t longest_text(const std::vector<ChoiceQuestion>& questions, std::int64_t context) {
  std::int64_t longest = 1;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    for (const ChoiceText& text : questions[i].texts) {
      if (size(text) < 2) fail("question {}: a text of {} tokens, expected 2", i + 1, size(text));
      assert(text.first >= 1 && text.first < text.end && text.end <= size(text));
      if (size(text) > context) {
        fail("question {}: a text of {} tokens, but the context has {} (-c/--context)", i + 1,
             size(text), context);
      }
      longest = std::max(longest, size(text));
    }
  }
  return longest;
}

/// Runs questions, several in a pass.
class ChoiceScorer {
 public:
  ChoiceScorer(Model& model, std::int64_t longest, std::int64_t caches)
      : model_(model),
        longest_(longest),
        pool_(model.make_pool((longest + kKvPagePositions) * caches)) {}

  /// The mean of ln p of each text of each question, one behind the other.
  std::vector<double> score(std::span<const ChoiceQuestion> questions) {
    std::vector<Beginning> beginnings = run_beginnings(questions);
    run_rests(questions, beginnings);
    std::vector<TokenToScore> tokens;
    std::size_t number = 0;
    for (std::size_t i = 0; i < questions.size(); ++i) {
      for (const ChoiceText& text : questions[i].texts) {
        for (std::int64_t j = text.first; j < text.end; ++j) {
          tokens.push_back({state(beginnings[i], rest_rows_[number], j - 1),
                            text.tokens[static_cast<std::size_t>(j)]});
        }
        ++number;
      }
    }
    return means(questions, log_probabilities(model_, tokens));
  }

 private:
  /// What the texts of a question have in common.
  struct Beginning {
    KvCache cache;
    std::int64_t tokens;
    std::int64_t row;  // of its first token in beginning_states_
  };

  std::vector<Beginning> run_beginnings(std::span<const ChoiceQuestion> questions) {
    std::vector<Beginning> beginnings;
    std::int64_t rows = 0;
    for (const ChoiceQuestion& question : questions) {
      beginnings.push_back({KvCache(pool_, longest_), common_tokens(question.texts), rows});
      rows += beginnings.back().tokens;
    }
    std::vector<SequenceTokens> sequences;
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const std::span<const std::int32_t> tokens = questions[i].texts[0].tokens;
      const auto count = static_cast<std::size_t>(beginnings[i].tokens);
      if (count > 0) sequences.push_back({tokens.first(count), &beginnings[i].cache});
    }
    run(sequences, rows, beginning_states_);
    return beginnings;
  }

  /// Each text from there on, without its last token, which nothing follows.
  void run_rests(std::span<const ChoiceQuestion> questions,
                 const std::vector<Beginning>& beginnings) {
    std::vector<KvCache> caches;
    std::vector<std::span<const std::int32_t>> rests;
    rest_rows_.clear();
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const std::int64_t common = beginnings[i].tokens;
      for (const ChoiceText& text : questions[i].texts) {
        rest_rows_.push_back(rows);
        const std::int64_t count = size(text) - 1 - common;
        rows += count;
        if (count == 0) continue;
        caches.emplace_back(pool_, longest_).share(beginnings[i].cache.pages(), common);
        rests.push_back(
            std::span(text.tokens)
                .subspan(static_cast<std::size_t>(common), static_cast<std::size_t>(count)));
      }
    }
    std::vector<SequenceTokens> sequences;
    for (std::size_t i = 0; i < rests.size(); ++i) sequences.push_back({rests[i], &caches[i]});
    run(sequences, rows, rest_states_);
  }

  void run(std::span<const SequenceTokens> sequences, std::int64_t rows,
           std::vector<float>& states) {
    states.resize(static_cast<std::size_t>(rows * model_.spec().hidden));
    if (!sequences.empty()) model_.forward(sequences, states.data());
  }

  /// The hidden state of token `at` of a text.
  const float* state(const Beginning& beginning, std::int64_t rest_row, std::int64_t at) const {
    const std::int64_t width = model_.spec().hidden;
    if (at < beginning.tokens) return beginning_states_.data() + (beginning.row + at) * width;
    return rest_states_.data() + (rest_row + at - beginning.tokens) * width;
  }

  static std::vector<double> means(std::span<const ChoiceQuestion> questions,
                                   const std::vector<double>& scores) {
    std::vector<double> all;
    auto score = scores.begin();
    for (const ChoiceQuestion& question : questions) {
      for (const ChoiceText& text : question.texts) {
        const std::int64_t count = text.end - text.first;
        all.push_back(std::accumulate(score, score + count, 0.0) / static_cast<double>(count));
        score += count;
      }
    }
    return all;
  }

  Model& model_;
  std::int64_t longest_;
  std::shared_ptr<KvPool> pool_;
  std::vector<float> beginning_states_;  // (tokens of all beginnings, hidden)
  std::vector<float> rest_states_;       // (tokens of all rests, hidden)
  std::vector<std::int64_t> rest_rows_;  // of each text's first token there
};

/// The first of `questions` that fit in a pass, one at least.
std::span<const ChoiceQuestion> first_batch(std::span<const ChoiceQuestion> questions,
                                            std::int64_t most_caches) {
  std::int64_t rows = 0;
  std::int64_t caches = 0;
  std::size_t count = 0;
  for (const ChoiceQuestion& question : questions) {
    const std::int64_t common = common_tokens(question.texts);
    for (const ChoiceText& text : question.texts) rows += size(text) - common;
    caches += 1 + std::ssize(question.texts);
    if (count > 0 && (rows > kPassRows || caches > most_caches)) break;
    ++count;
  }
  return questions.first(count);
}

}  // namespace

std::int64_t common_tokens(const std::vector<ChoiceText>& texts) {
  std::int64_t common = size(texts[0]) - 1;
  for (const ChoiceText& text : texts) {
    common = SharedPrefix::common(
        std::span(texts[0].tokens).first(static_cast<std::size_t>(common)), text.tokens);
  }
  return common;
}

double ChoiceResult::accuracy() const {
  return static_cast<double>(correct) / static_cast<double>(questions);
}

double ChoiceResult::standard_error() const {
  const double p = accuracy();
  return std::sqrt(p * (1 - p) / static_cast<double>(questions - 1));
}

Interval wilson_interval(const ChoiceResult& result) {
  constexpr double kZ = 1.959963984540054;  // of 95 %
  const double p = result.accuracy();
  const double z = kZ * kZ / static_cast<double>(result.questions);
  const double half_width =
      kZ * std::sqrt((p * (1 - p) + z / 4) / static_cast<double>(result.questions));
  const double low = (p + z / 2 - half_width) / (1 + z);
  const double high = (p + z / 2 + half_width) / (1 + z);
  return {std::clamp(low, 0.0, p), std::clamp(high, p, 1.0)};  // but for rounding they are there
}

ChoiceResult answer_choices(Model& model, const std::vector<ChoiceQuestion>& questions,
                            std::int64_t context,
                            FunctionRef<void(const ChoiceResult&)> on_question) {
  const std::int64_t longest = longest_text(questions, context);
  std::int64_t most_texts = 0;
  for (const ChoiceQuestion& question : questions) {
    most_texts = std::max(most_texts, std::ssize(question.texts));
  }
  const std::int64_t caches =
      std::max(caches_in_memory(model, longest, kMostCaches), 1 + most_texts);
  ChoiceScorer scorer(model, longest, caches);
  ChoiceResult result;
  for (std::span<const ChoiceQuestion> left = questions; !left.empty();) {
    check_interrupt();
    const auto batch = first_batch(left, caches);
    left = left.subspan(batch.size());
    const std::vector<double> scores = scorer.score(batch);
    auto score = scores.begin();
    for (const ChoiceQuestion& question : batch) {
      const auto end = score + std::ssize(question.texts);
      const auto best = static_cast<std::size_t>(std::max_element(score, end) - score);
      score = end;
      ++result.questions;
      if (best == question.right) ++result.correct;
      on_question(result);
    }
  }
  return result;
}

}  // namespace nibble
