#include "nibble/template/values/budget.h"

#include "nibble/core/interrupt.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

constexpr std::int64_t kStepsBetweenChecks = 100'000;

[[noreturn]] void out_of_memory() {
  raise("MemoryError", "the template's values take more than {} MiB", Budget::kMaxBytes >> 20);
}

}  // namespace

thread_local Budget* Budget::current_ = nullptr;

void Budget::step(std::int64_t steps) {
  steps_ += steps;
  if (steps_ > kMaxSteps) {
    raise("TimeoutError", "the template did not end within {} steps", kMaxSteps);
  }
  if (steps_ >= next_check_) {
    next_check_ = steps_ + kStepsBetweenChecks;
    check_interrupt();
  }
}

void Budget::check(std::size_t bytes) const {
  if (bytes > kMaxBytes || bytes_ > kMaxBytes - bytes) out_of_memory();
}

void check_size(std::size_t count, std::size_t bytes) {
  std::size_t total = 0;
  if (__builtin_mul_overflow(count, bytes, &total) || total > Budget::kMaxBytes) out_of_memory();
  if (const Budget* budget = Budget::current()) budget->check(total);
}

}  // namespace nibble::jinja
