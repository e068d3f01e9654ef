#include "nibble/core/page_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "nibble/core/process.h"

namespace nibble {
namespace {

TEST(PagePool, GivesPagesUntilNoneIsLeft) {
  PagePool pool(4096, 3);
  EXPECT_EQ(pool.page_bytes(), 4096u);
  EXPECT_EQ(pool.pages(), 3);
  std::vector<Page> pages;
  std::set<std::byte*> places;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pool.free_pages(), 3 - i);
    pages.push_back(pool.take());
    ASSERT_TRUE(pages.back());
    std::memset(pages.back().data(), i + 1, 4096);
    places.insert(pages.back().data());
  }
  EXPECT_EQ(places.size(), 3u);
  for (int i = 0; i < 3; ++i) {  // none lies in another
    const std::byte* data = pages[static_cast<std::size_t>(i)].data();
    EXPECT_TRUE(std::all_of(data, data + 4096, [i](std::byte b) { return b == std::byte(i + 1); }));
  }
  EXPECT_FALSE(pool.take());
  std::byte* const last = pages.back().data();
  pages.pop_back();
  EXPECT_EQ(pool.free_pages(), 1);
  EXPECT_EQ(pool.take().data(), last);  // and back again
  EXPECT_EQ(pool.free_pages(), 1);
}

TEST(PagePool, ASharedPageComesBackWithItsLastReference) {
  PagePool pool(64, 2);
  Page first = pool.take();
  EXPECT_FALSE(first.is_shared());
  Page second = first;
  EXPECT_TRUE(first.is_shared());
  EXPECT_TRUE(second.is_shared());
  EXPECT_EQ(first.data(), second.data());
  const Page moved = std::move(first);
  EXPECT_FALSE(first);  // NOLINT: what a moved reference is
  EXPECT_EQ(pool.free_pages(), 1);
  second = Page();
  EXPECT_EQ(pool.free_pages(), 1);
  EXPECT_FALSE(moved.is_shared());
  second = moved;
  second = pool.take();  // drops the one it had
  EXPECT_FALSE(moved.is_shared());
  EXPECT_EQ(pool.free_pages(), 0);
}

TEST(PagePool, OfNoPagesHasNone) {
  PagePool pool(64, 0);
  EXPECT_FALSE(pool.take());
}

// As many as nobody has memory for cost nothing until they are written to.
TEST(PagePool, MemoryIsTakenAsPagesAre) {
  constexpr std::size_t kPageBytes = std::size_t{8} << 20;
  PagePool pool(kPageBytes, std::int64_t{1} << 40);
  std::vector<Page> pages;
  for (int i = 0; i < 40; ++i) pages.push_back(pool.take());  // of several chunks
  const std::int64_t before = peak_rss_bytes();
  for (int i = 0; i < 2; ++i) std::memset(pages[static_cast<std::size_t>(i)].data(), 1, kPageBytes);
  EXPECT_LT(peak_rss_bytes() - before, 5 * static_cast<std::int64_t>(kPageBytes) / 2);
}

TEST(PagePool, AnyThreadTakesAndGivesBack) {
  PagePool pool(64, 8);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 2000; ++i) {
        Page mine = pool.take();
        Page other = pool.take();
        ASSERT_TRUE(mine && other);  // no thread holds more than two
        std::memset(mine.data(), t, 64);
        const Page shared = mine;
        other = shared;
        EXPECT_EQ(mine.data()[63], std::byte(t));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.free_pages(), 8);
}

}  // namespace
}  // namespace nibble
