// What one rendering may use. A template comes with a model from anywhere: it must end soon and in
// bounded memory, whatever it says.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble::jinja {

inline constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;  // of a template's text
inline constexpr int kMaxNodeDepth = 200;          // of expressions and blocks inside each other
inline constexpr int kMaxCallDepth = 1200;         // of evaluations under way, across macros
inline constexpr int kMaxValueDepth = 300;         // of lists and dicts inside each other
inline constexpr std::int64_t kMaxRange = 100000;  // as Jinja's sandbox has it

/// The account of the rendering under way on this thread. Outside of one (a template's constants,
/// the values handed in) nothing is counted.
class Budget {
 public:
  static constexpr std::int64_t kMaxSteps = 20'000'000;                  // a few seconds
  static constexpr std::size_t kMaxBytes = std::size_t{256} << 20;       // of live values
  static constexpr std::size_t kMaxOutputBytes = std::size_t{64} << 20;  // of the text rendered

  /// Makes itself the current account; the one before comes back at the end.
  Budget() : outer_(current_) { current_ = this; }
  ~Budget() { current_ = outer_; }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  static Budget* current() { return current_; }

  /// Counts work: a node evaluated, or 64 bytes looked at. Throws Raised when too much was done,
  /// and Interrupted after Ctrl-C.
  void step(std::int64_t steps);
  /// Whether `bytes` more may live. Throws Raised if not.
  void check(std::size_t bytes) const;
  void take(std::size_t bytes) {
    check(bytes);
    bytes_ += bytes;
  }
  void give_back(std::size_t bytes) noexcept { bytes_ -= bytes; }

 private:
  static thread_local Budget* current_;

  Budget* outer_;
  std::int64_t steps_ = 0;
  std::int64_t next_check_ = 0;
  std::size_t bytes_ = 0;
};

/// Counts work against the current account, if there is one.
inline void count_steps(std::int64_t steps) {
  if (Budget* budget = Budget::current()) budget->step(steps);
}

/// Counts looking at `bytes` of text.
inline void count_bytes(std::size_t bytes) {
  count_steps(static_cast<std::int64_t>(bytes / 64));
}

/// Call before making something large out of little: throws Raised if `count` pieces of `bytes`
/// would not fit.
void check_size(std::size_t count, std::size_t bytes);

/// The bytes of one value, given back when it dies. A value of an account must not outlive it.
class Charge {
 public:
  explicit Charge(std::size_t bytes) : budget_(Budget::current()), bytes_(bytes) {
    if (budget_ != nullptr) budget_->take(bytes);
  }
  ~Charge() {
    if (budget_ != nullptr) budget_->give_back(bytes_);
  }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

 private:
  Budget* budget_;
  std::size_t bytes_;
};

}  // namespace nibble::jinja
