#include "nibble/core/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"

namespace nibble {
namespace {

// Some tens of microseconds: longer than the gap between two operators of a token, far shorter than
// a scheduler's time slice.
constexpr int kSpins = 2000;

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

/// The first line of a small file of the kernel's, "" where there is none.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Cores that the cgroup's CPU quota allows, rounded up; INT_MAX without a quota.
int quota_cores() {
  long long quota = 0;
  long long period = 0;
  const std::string v2 = first_line("/sys/fs/cgroup/cpu.max");
  if (std::sscanf(v2.c_str(), "%lld %lld", &quota, &period) != 2) {
    std::sscanf(first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").c_str(), "%lld", &quota);
    std::sscanf(first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us").c_str(), "%lld", &period);
  }
  if (quota <= 0 || period <= 0) return INT32_MAX;
  return static_cast<int>((quota + period - 1) / period);
}

/// Physical cores with at least one hardware thread in the affinity mask.
int affinity_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) {
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }
  std::set<std::string> cores;  // hardware threads of one core share one list of siblings
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string name = std::to_string(cpu);
    const std::string siblings =
        first_line("/sys/devices/system/cpu/cpu" + name + "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? name : siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace

int usable_cores() {
  return std::max(1, std::min(affinity_cores(), quota_cores()));
}

ThreadPool::ThreadPool(int threads)
    : parts_(static_cast<std::size_t>(threads > 0 ? threads : usable_cores())) {
  const auto count = static_cast<int>(parts_.size());
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

std::int64_t ThreadPool::part_end(int part) const {
  return items_.load(std::memory_order_relaxed) * (part + 1) / size();
}

void ThreadPool::parallel_for(std::int64_t items, FunctionRef<void(std::int64_t, int)> work) {
  if (items <= 0) return;
  assert(items <= UINT32_MAX && unfinished_.load() == 0);
  work_.store(&work, std::memory_order_relaxed);
  items_.store(items, std::memory_order_relaxed);
  unfinished_.store(static_cast<std::uint32_t>(items), std::memory_order_relaxed);
  const std::uint32_t job = epoch_.load(std::memory_order_relaxed) + 1;
  for (int part = 0; part < size(); ++part) {
    const std::int64_t count = part_end(part) - (part == 0 ? 0 : part_end(part - 1));
    parts_[static_cast<std::size_t>(part)].claims.store(
        std::uint64_t{job} << 32 | static_cast<std::uint64_t>(count), std::memory_order_release);
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
  std::uint32_t seen = 0;
  for (;;) {
    wait_while_equal(epoch_, seen);
    seen = epoch_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    run_items(thread);
  }
}

bool ThreadPool::take_item(int part, std::int64_t& item) {
  std::atomic<std::uint64_t>& claims = parts_[static_cast<std::size_t>(part)].claims;
  std::uint64_t seen = claims.load(std::memory_order_acquire);
  for (;;) {
    const auto left = static_cast<std::uint32_t>(seen);
    if (left == 0) return false;
    // Fails if another thread took this item, or if the job is over and the next has begun.
    if (claims.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
      item = part_end(part) - left;
      return true;
    }
  }
}

void ThreadPool::run_items(int thread) {
  for (int i = 0; i < size(); ++i) {
    const int part = (thread + i) % size();
    for (std::int64_t item = 0; take_item(part, item);) {
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
      finish_items(1);
    }
  }
}

void ThreadPool::leave_out_rest() {
  // The caller holds an item that is not done, so the job in the parts is its own until it returns.
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
