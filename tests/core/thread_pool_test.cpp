#include "nibble/core/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <vector>

#include "nibble/core/error.h"

namespace nibble {
namespace {

class ThreadPoolOf : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolOf, DoesEveryItemOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (const int items : {0, 1, 2, 3, 100, 10'000}) {
    std::vector<std::atomic<int>> done(static_cast<std::size_t>(items));
    std::atomic<bool> bad_thread = false;
    pool.parallel_for(items, [&](std::int64_t item, int thread) {
      ++done[static_cast<std::size_t>(item)];
      if (thread < 0 || thread >= pool.size()) bad_thread = true;
    });
    for (const auto& count : done) ASSERT_EQ(count, 1);
    EXPECT_FALSE(bad_thread);
  }
}

TEST_P(ThreadPoolOf, OneThreadWorksOnOneItemAtATime) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> inside(static_cast<std::size_t>(GetParam()));
  std::atomic<bool> overlapped = false;
  pool.parallel_for(2'000, [&](std::int64_t, int thread) {
    auto& here = inside[static_cast<std::size_t>(thread)];
    if (++here != 1) overlapped = true;
    --here;
  });
  EXPECT_FALSE(overlapped);
}

TEST_P(ThreadPoolOf, ManySmallJobsInARow) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> sums(5);  // plain memory: a job must see what the one before it wrote
  for (int job = 0; job < 10'000; ++job) {
    pool.parallel_for(5,
                      [&](std::int64_t item, int) { sums[static_cast<std::size_t>(item)] += 1; });
  }
  EXPECT_EQ(sums, std::vector<std::int64_t>(5, 10'000));
}

TEST_P(ThreadPoolOf, ThrowsWhatTheWorkThrewAndStaysUsable) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> calls = 0;
    const auto work = [&](std::int64_t item, int) {
      ++calls;
      if (item == 3) throw std::runtime_error("item 3");
    };
    try {
      pool.parallel_for(1'000'000, work);
      FAIL() << "nothing thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "item 3");
    }
    EXPECT_LT(calls, 1'000'000) << "items not yet begun are left out";
    std::atomic<int> after = 0;
    pool.parallel_for(100, [&](std::int64_t, int) { ++after; });
    EXPECT_EQ(after, 100);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, ::testing::Values(1, 2, 3, 7));

TEST(ThreadPool, ComesAndGoesUnused) {
  for (int i = 0; i < 200; ++i) ThreadPool pool(4);
}

TEST(ThreadPool, DefaultsToTheUsableCores) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_EQ(ThreadPool().size(), usable_cores());
}

/// In a process of its own: exits with 0 if a pool that cannot get its threads throws Error.
void start_too_many_threads() {
  // Each thread needs address space for its stack; half a gigabyte holds some, not all.
  const rlimit limit{.rlim_cur = 512u << 20, .rlim_max = 512u << 20};
  if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(2);
  try {
    const ThreadPool pool(1000);
  } catch (const Error&) {
    ::_exit(0);
  }
  ::_exit(1);
}

TEST(ThreadPool, TooManyThreadsAreAnError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs more address space than this test leaves";
#endif
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) start_too_many_threads();
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace nibble
