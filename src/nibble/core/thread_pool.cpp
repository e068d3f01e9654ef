#include "nibble/core/thread_pool.h"

#include <algorithm>
#include <cassert>
#include <system_error>
#include <utility>

#include "nibble/core/cgroup.h"
#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"

namespace nibble {
namespace {

// Some tens of microseconds: longer than the gap between two operators of a token, far shorter than
// a scheduler's time slice.
constexpr int kSpins = 2000;

/// The pool whose items this thread is working on.
thread_local const ThreadPool* pool_at_work = nullptr;

void pause() {
  __builtin_ia32_pause();
}

/// Waits until `value` is no longer `old`: spinning first, then asleep.
void wait_while_equal(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads, Topology topology)
    : topology_(std::move(topology)),
      parts_(threads > 0
                 ? static_cast<std::size_t>(threads)
                 : std::min(topology_.cores.size(), static_cast<std::size_t>(quota_cores()))) {
  const auto count = static_cast<int>(parts_.size());
  order_help();
  workers_.reserve(static_cast<std::size_t>(count - 1));
  try {
    for (int i = 1; i < count; ++i) workers_.emplace_back([this, i] { worker_loop(i); });
  } catch (const std::system_error& error) {  // more threads than the system allows
    const std::size_t started = workers_.size();
    stop();
    fail("cannot start {} threads, only {}: {}", count, started + 1, error.code().message());
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

const Core& ThreadPool::core_of(int thread) const {
  const std::size_t place =
      static_cast<std::size_t>(thread) * topology_.cores.size() / parts_.size();
  return topology_.cores[place];
}

/// To the whole node, not to one core: another process may hold that one while the next is free.
void ThreadPool::tie_to_node(int thread) const {
  if (nodes() == 1) return;
  std::vector<int> cpus;
  for (const Core& core : topology_.cores) {
    if (core.node == core_of(thread).node) cpus.push_back(core.cpu);
  }
  tie_this_thread(cpus);  // only a matter of speed
}

void ThreadPool::order_help() {
  for (int thread = 0; thread < size(); ++thread) {
    std::vector<int>& order = help_order_.emplace_back();
    for (int i = 0; i < size(); ++i) order.push_back((thread + i) % size());
    std::stable_partition(order.begin(), order.end(),
                          [&](int part) { return core_of(part).node == core_of(thread).node; });
  }
}

ThreadPool::Share ThreadPool::share(std::int64_t items, int thread) const {
  return {items * thread / size(), items * (thread + 1) / size()};
}

void ThreadPool::parallel_for(std::int64_t items, FunctionRef<void(std::int64_t, int)> work) {
  run(items, kAnyThread, work);
}

void ThreadPool::for_each_thread(FunctionRef<void(int)> work) {
  run(size(), kOwnThread, [&](std::int64_t, int thread) { work(thread); });
}

void ThreadPool::run(std::int64_t items, std::uint64_t mode,
                     FunctionRef<void(std::int64_t, int)> work) {
  if (items <= 0) return;
  assert(items <= UINT32_MAX);
  if (pool_at_work == this) fail("a job of a thread pool cannot begin another on the same pool");
  const std::lock_guard lock(caller_mutex_);
  work_.store(&work, std::memory_order_relaxed);
  items_.store(items, std::memory_order_relaxed);
  unfinished_.store(static_cast<std::uint32_t>(items), std::memory_order_relaxed);
  const std::uint32_t job = epoch_.load(std::memory_order_relaxed) + 1;
  for (int part = 0; part < size(); ++part) {
    const Share dealt = share(items, part);
    parts_[static_cast<std::size_t>(part)].claims.store(
        std::uint64_t{job} << 33 | mode | static_cast<std::uint64_t>(dealt.end - dealt.begin),
        std::memory_order_release);
  }
  epoch_.store(job, std::memory_order_release);
  if (!workers_.empty() && items > 1) epoch_.notify_all();
  run_items(0);
  for (std::uint32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;) {
    wait_while_equal(unfinished_, left);
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::worker_loop(int thread) {
  tie_to_node(thread);
  std::uint32_t seen = 0;
  for (;;) {
    wait_while_equal(epoch_, seen);
    seen = epoch_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    run_items(thread);
  }
}

bool ThreadPool::take_item(int part, int thread, std::int64_t& item) {
  std::atomic<std::uint64_t>& claims = parts_[static_cast<std::size_t>(part)].claims;
  std::uint64_t seen = claims.load(std::memory_order_acquire);
  for (;;) {
    const auto left = static_cast<std::uint32_t>(seen);
    if (left == 0 || ((seen & kOwnThread) != 0 && part != thread)) return false;
    // Fails if another thread took this item, or if the job is over and the next has begun.
    if (claims.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
      item = share(items_.load(std::memory_order_relaxed), part).end - left;
      return true;
    }
  }
}

void ThreadPool::run_items(int thread) {
  // Counted here and told once: the common count is a line that all threads write.
  std::uint32_t done = 0;
  const ThreadPool* const outer = std::exchange(pool_at_work, this);
  for (const int part : help_order_[static_cast<std::size_t>(thread)]) {
    for (std::int64_t item = 0; take_item(part, thread, item);) {
      try {
        check_interrupt();  // here, so that no operator can take long to stop
        (*work_.load(std::memory_order_relaxed))(item, thread);
      } catch (...) {
        {
          const std::lock_guard lock(error_mutex_);
          if (!error_) error_ = std::current_exception();
        }
        leave_out_rest();
      }
      ++done;
    }
  }
  pool_at_work = outer;
  finish_items(done);
}

void ThreadPool::leave_out_rest() {
  // The caller has an item that it has not told to be done, so the job in the parts is its own
  // until it returns.
  for (Part& part : parts_) {
    std::uint64_t claims = part.claims.load(std::memory_order_acquire);
    while (!part.claims.compare_exchange_weak(claims, claims & ~std::uint64_t{UINT32_MAX})) {
    }
    finish_items(static_cast<std::uint32_t>(claims));
  }
}

void ThreadPool::finish_items(std::uint32_t count) {
  if (count != 0 && unfinished_.fetch_sub(count, std::memory_order_acq_rel) == count) {
    unfinished_.notify_all();
  }
}

}  // namespace nibble
