#include "nibble/core/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "nibble/core/cgroup.h"
#include "nibble/core/error.h"
#include "paths.h"

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
      // Or all could be done while the thread with item 3 is off its core.
      std::this_thread::yield();
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

TEST_P(ThreadPoolOf, EachThreadDoesItsOwnWorkOnce) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> done(static_cast<std::size_t>(pool.size()));
    std::vector<std::thread::id> by(done.size());
    pool.for_each_thread([&](int thread) {
      ++done[static_cast<std::size_t>(thread)];
      by[static_cast<std::size_t>(thread)] = std::this_thread::get_id();
    });
    for (const auto& count : done) ASSERT_EQ(count, 1);
    EXPECT_EQ(by[0], std::this_thread::get_id());
    EXPECT_EQ(std::set(by.begin(), by.end()).size(), by.size()) << "nobody helped";
    // A job that may be shared, at once after one that may not.
    std::atomic<int> items = 0;
    pool.parallel_for(10, [&](std::int64_t, int) { ++items; });
    ASSERT_EQ(items, 10);
  }
}

TEST_P(ThreadPoolOf, SharesFollowEachOther) {
  const ThreadPool pool(GetParam());
  for (const std::int64_t items : {0, 1, 2, 5, 1000}) {
    std::int64_t next = 0;
    for (int thread = 0; thread < pool.size(); ++thread) {
      const auto [begin, end] = pool.share(items, thread);
      EXPECT_EQ(begin, next);
      EXPECT_GE(end, begin);
      EXPECT_LE(end - begin, items / pool.size() + 1);
      next = end;
    }
    EXPECT_EQ(next, items);
  }
}

// Two models that share a pool may be used from two threads.
TEST_P(ThreadPoolOf, CallersWaitForEachOther) {
  ThreadPool pool(GetParam());
  std::atomic<int> jobs_at_once = 0;
  const auto call = [&](std::int64_t items) {
    for (int job = 0; job < 500; ++job) {
      std::atomic<std::int64_t> sum = 0;
      pool.parallel_for(items, [&](std::int64_t item, int) { sum += item; });
      EXPECT_EQ(sum, items * (items - 1) / 2);
      pool.for_each_thread([&](int thread) {
        if (thread != 0) return;
        EXPECT_EQ(++jobs_at_once, 1);
        --jobs_at_once;
      });
    }
  };
  std::vector<std::thread> callers;
  for (const std::int64_t items : {1, 7, 40}) callers.emplace_back(call, items);
  for (std::thread& caller : callers) caller.join();
}

TEST_P(ThreadPoolOf, RefusesAJobInsideAJob) {
  ThreadPool pool(GetParam());
  ThreadPool other(GetParam());
  std::atomic<int> done = 0;
  pool.parallel_for(3, [&](std::int64_t, int) {
    EXPECT_THROW(pool.parallel_for(2, [](std::int64_t, int) {}), Error);
    other.parallel_for(2, [&](std::int64_t, int) { ++done; });
    EXPECT_THROW(pool.parallel_for(2, [](std::int64_t, int) {}), Error);
  });
  EXPECT_EQ(done, 6);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, ::testing::Values(1, 2, 3, 7));

TEST(ThreadPool, ComesAndGoesUnused) {
  for (int i = 0; i < 200; ++i) ThreadPool pool(4);
}

TEST(ThreadPool, DefaultsToTheUsableCores) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_EQ(ThreadPool().size(), usable_cores());
}

/// Nodes with these numbers of cores. The hardware threads do not exist: tying to them fails, and
/// is only a matter of speed.
Topology nodes_of(const std::vector<int>& cores) {
  Topology topology{.nodes = static_cast<int>(cores.size())};
  for (int node = 0; node < topology.nodes; ++node) {
    for (int i = 0; i < cores[static_cast<std::size_t>(node)]; ++i) {
      topology.cores.push_back({40'000 + static_cast<int>(topology.cores.size()), node});
    }
  }
  return topology;
}

std::vector<int> nodes_of_threads(const ThreadPool& pool) {
  std::vector<int> nodes;
  for (int thread = 0; thread < pool.size(); ++thread) nodes.push_back(pool.core_of(thread).node);
  return nodes;
}

TEST(ThreadPoolNodes, ThreadsAreSpreadAsTheCoresAre) {
  using Nodes = std::vector<int>;
  EXPECT_EQ(nodes_of_threads(ThreadPool(4, nodes_of({2, 2}))), (Nodes{0, 0, 1, 1}));
  EXPECT_EQ(nodes_of_threads(ThreadPool(2, nodes_of({4, 4}))), (Nodes{0, 1}));
  EXPECT_EQ(nodes_of_threads(ThreadPool(4, nodes_of({3, 1}))), (Nodes{0, 0, 0, 1}));
  EXPECT_EQ(nodes_of_threads(ThreadPool(2, nodes_of({1, 1, 1, 1}))), (Nodes{0, 2}));
  EXPECT_EQ(nodes_of_threads(ThreadPool(1, nodes_of({1, 1}))), (Nodes{0}));
  EXPECT_EQ(nodes_of_threads(ThreadPool(6, nodes_of({1, 2}))), (Nodes{0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(ThreadPool(0, nodes_of({1, 2})).size(), std::min(3, quota_cores()));
}

// The other threads hold their first item until thread 3 has done all that is left.
TEST(ThreadPoolNodes, HelpGoesToTheOwnNodeFirst) {
  ThreadPool pool(4, nodes_of({2, 2}));
  constexpr std::int64_t kItems = 400;
  std::atomic<int> arrived = 0;
  std::atomic<std::int64_t> done = 0;
  std::vector<std::int64_t> items;  // that thread 3 did, in order
  pool.parallel_for(kItems, [&](std::int64_t item, int thread) {
    if (item == pool.share(kItems, thread).begin) {
      ++arrived;
      while (arrived < pool.size()) std::this_thread::yield();
    }
    if (thread == 3) {
      items.push_back(item);
      ++done;
    }
    while (done < kItems - 3) {
      if (thread == 3) return;
      std::this_thread::yield();
    }
  });
  ASSERT_EQ(std::ssize(items), kItems - 3);
  for (std::int64_t i = 0; i < 100; ++i) EXPECT_EQ(items[static_cast<std::size_t>(i)], 300 + i);
  for (std::int64_t i = 100; i < 199; ++i) EXPECT_EQ(items[static_cast<std::size_t>(i)], 101 + i);
  for (std::int64_t i = 199; i < kItems - 3; ++i)
    EXPECT_LT(items[static_cast<std::size_t>(i)], 200);
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
  if (testing::is_sanitized())
    GTEST_SKIP() << "a sanitizer needs more address space than this test leaves";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) start_too_many_threads();
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace nibble
