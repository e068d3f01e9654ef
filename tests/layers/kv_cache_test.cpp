#include "nibble/layers/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error_matchers.h"
#include "nibble/core/process.h"
#include "nibble/kernels/select.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::int64_t kLayers = 2;
constexpr std::int64_t kHeads = 3;
constexpr std::int64_t kDim = 5;
constexpr std::int64_t kPage = kKvPagePositions;

/// What tests put at a position, of some sequence: keys, and values that are their negatives.
float entry(int sequence, std::int64_t layer, std::int64_t position, std::int64_t head,
            std::int64_t d) {
  return static_cast<float>(position * 100 + head * 10 + d) + static_cast<float>(layer) * 0.5f +
         static_cast<float>(sequence) * 0.25f;
}

class Cache : public ::testing::TestWithParam<KvType> {
 protected:
  static KvCacheShape shape(std::int64_t capacity) { return {kLayers, kHeads, kDim, capacity}; }
  static std::shared_ptr<KvPool> make_pool(std::int64_t pages) {
    return std::make_shared<KvPool>(shape(pages * kPage), GetParam());
  }

  /// Adds `tokens` positions to a sequence. False if there is no room.
  static bool extend(KvCache& cache, int sequence, std::int64_t tokens) {
    if (!cache.reserve(tokens)) return false;
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      for (std::int64_t t = 0; t < tokens; ++t) {
        std::vector<float> keys;
        for (std::int64_t head = 0; head < kHeads; ++head) {
          for (std::int64_t d = 0; d < kDim; ++d) {
            keys.push_back(entry(sequence, layer, cache.length() + t, head, d));
          }
        }
        std::vector<float> values = keys;
        for (float& value : values) value = -value;
        cache.store(select_kernels(), layer, cache.length() + t, keys.data(), values.data());
      }
    }
    cache.advance(tokens);
    return true;
  }

  /// What a cache should hold of `x`, an element of a row of kDim with `largest` the largest |x|.
  static float held(float x, float largest) {
    switch (GetParam()) {
      case KvType::kF32:
        return x;
      case KvType::kBF16:
        return round_to_bfloat16(x);
      case KvType::kInt8:
        return std::nearbyint(x * (1.0f / (largest / 127.0f)));
    }
    return NAN;
  }
  static float at(const std::byte* data, std::int64_t index) {
    switch (GetParam()) {
      case KvType::kF32:
        return reinterpret_cast<const float*>(data)[index];
      case KvType::kBF16:
        return to_float(reinterpret_cast<const BFloat16*>(data)[index]);
      case KvType::kInt8:
        return reinterpret_cast<const std::int8_t*>(data)[index];
    }
    return NAN;
  }

  /// Positions begin .. end - 1 are those of `sequence`.
  static void expect_held(const KvCache& cache, int sequence, std::int64_t begin,
                          std::int64_t end) {
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      const KvLayerView view = cache.pool()->layer(layer);
      EXPECT_EQ(view.type, GetParam());
      for (std::int64_t p = begin; p < end; ++p) {
        const std::byte* page = cache.pages()[static_cast<std::size_t>(p / kPage)].data();
        const auto* key_scales = reinterpret_cast<const float*>(page + view.key_scales);
        const auto* value_scales = reinterpret_cast<const float*>(page + view.value_scales);
        for (std::int64_t head = 0; head < kHeads; ++head) {
          const std::int64_t row = head * kPage + p % kPage;
          const float largest = entry(sequence, layer, p, head, kDim - 1);
          if (GetParam() == KvType::kInt8) {
            ASSERT_EQ(key_scales[row], largest / 127.0f);
            ASSERT_EQ(value_scales[row], largest / 127.0f);
          }
          for (std::int64_t d = 0; d < kDim; ++d) {
            const float expected = held(entry(sequence, layer, p, head, d), largest);
            ASSERT_EQ(at(page + view.keys, row * kDim + d), expected)
                << layer << " " << head << " " << p;
            ASSERT_EQ(at(page + view.values, row * kDim + d), -expected)
                << layer << " " << head << " " << p;
          }
        }
      }
    }
  }
};

TEST(KvCache, SaysOfWhichContextThereIsNoMemory) {
  // A page of 2^48 bytes.
  KvCache cache({.n_layers = 1, .n_kv_heads = 1024, .head_dim = 1 << 28, .capacity = 300},
                KvType::kBF16);
  EXPECT_ERROR(cache.require(1),
               AllOf(HasSubstr("context of 300 positions"), HasSubstr("cannot get")));
}

TEST_P(Cache, StoresAdvancesAndTruncates) {
  constexpr std::int64_t kCapacity = 2 * kPage + 30;
  KvCache cache(shape(kCapacity), GetParam());
  EXPECT_EQ(cache.capacity(), kCapacity);
  EXPECT_EQ(cache.length(), 0);
  EXPECT_EQ(cache.pool()->pages().pages(), 3);
  ASSERT_TRUE(extend(cache, 0, 4));
  EXPECT_EQ(cache.length(), 4);
  ASSERT_TRUE(extend(cache, 0, kCapacity - 4));
  expect_held(cache, 0, 0, kCapacity);
  cache.truncate(2);
  EXPECT_EQ(cache.length(), 2);
  ASSERT_TRUE(extend(cache, 1, 1));
  expect_held(cache, 0, 0, 2);
  expect_held(cache, 1, 2, 3);
  cache.truncate(0);
  EXPECT_EQ(cache.length(), 0);
}

TEST_P(Cache, CountsItsBytes) {
  const std::int64_t row_bytes = GetParam() == KvType::kF32    ? kDim * 4
                                 : GetParam() == KvType::kBF16 ? kDim * 2
                                                               : kDim + 4;
  const KvPool pool(shape(7), GetParam());
  EXPECT_EQ(pool.bytes_per_position(), 2 * kLayers * kHeads * row_bytes);
}

TEST_P(Cache, PagesAreTakenAsPositionsAreFilledAndGivenBack) {
  const auto pool = make_pool(5);
  const auto free = [&] { return pool->pages().free_pages(); };
  {
    KvCache cache(pool, 100 * kPage);  // longer than the pool
    EXPECT_EQ(free(), 5);
    ASSERT_TRUE(extend(cache, 0, 1));
    EXPECT_EQ(free(), 4);
    ASSERT_TRUE(extend(cache, 0, kPage - 1));
    EXPECT_EQ(free(), 4);
    ASSERT_TRUE(extend(cache, 0, 1));
    EXPECT_EQ(free(), 3);
    ASSERT_TRUE(cache.reserve(2 * kPage));  // without using it
    EXPECT_EQ(free(), 1);
    cache.truncate(kPage + 1);
    EXPECT_EQ(free(), 3);
    cache.truncate(kPage);
    EXPECT_EQ(free(), 4);
    expect_held(cache, 0, 0, kPage);
  }
  EXPECT_EQ(free(), 5);
}

TEST_P(Cache, AFullPoolIsTold) {
  const auto pool = make_pool(3);
  KvCache first(pool, 10 * kPage);
  KvCache second(pool, 10 * kPage);
  ASSERT_TRUE(extend(first, 0, kPage + 1));
  EXPECT_FALSE(extend(second, 1, kPage + 1));  // one page is left, two are wanted
  EXPECT_EQ(pool->pages().free_pages(), 1);    // and it was not taken
  EXPECT_EQ(second.length(), 0);
  ASSERT_TRUE(extend(second, 1, kPage));
  EXPECT_FALSE(second.reserve(1));
  ASSERT_TRUE(extend(first, 0, kPage - 1));
  EXPECT_FALSE(first.reserve(1));
  first.truncate(kPage);  // makes room for the other
  ASSERT_TRUE(extend(second, 1, 1));
  expect_held(first, 0, 0, kPage);
  expect_held(second, 1, 0, kPage + 1);
}

TEST_P(Cache, SequencesShareAPrefixUntilOneWritesToIt) {
  const auto pool = make_pool(6);
  const auto free = [&] { return pool->pages().free_pages(); };
  KvCache first(pool, 10 * kPage);
  ASSERT_TRUE(extend(first, 0, 2 * kPage + 40));
  KvCache second(pool, 10 * kPage);
  second.share(first.pages(), 2 * kPage + 7);
  EXPECT_EQ(second.length(), 2 * kPage + 7);
  EXPECT_EQ(free(), 3);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(first.pages()[i].data(), second.pages()[i].data());
  }

  ASSERT_TRUE(extend(second, 1, 5));  // copies the page that it writes to
  EXPECT_EQ(free(), 2);
  EXPECT_EQ(first.pages()[1].data(), second.pages()[1].data());
  EXPECT_NE(first.pages()[2].data(), second.pages()[2].data());
  expect_held(first, 0, 0, 2 * kPage + 40);
  expect_held(second, 0, 0, 2 * kPage + 7);
  expect_held(second, 1, 2 * kPage + 7, 2 * kPage + 12);

  const std::byte* const own = first.pages()[2].data();
  ASSERT_TRUE(extend(first, 0, 1));  // whose page is its own by now
  EXPECT_EQ(first.pages()[2].data(), own);
  EXPECT_EQ(free(), 2);

  first.truncate(kPage + 9);
  EXPECT_EQ(free(), 3);
  ASSERT_TRUE(extend(first, 2, 3));  // a shared page in the middle of the other sequence
  EXPECT_EQ(free(), 2);
  expect_held(first, 2, kPage + 9, kPage + 12);
  expect_held(second, 0, 0, 2 * kPage + 7);
  first.truncate(0);
  EXPECT_EQ(free(), 3);  // the first page is the second's still
  expect_held(second, 0, 0, 2 * kPage + 7);
}

// Whole pages are shared for good, and only what is written to is copied.
TEST_P(Cache, NothingIsCopiedAtTheBorderOfAPage) {
  const auto pool = make_pool(3);
  KvCache first(pool, 10 * kPage);
  ASSERT_TRUE(extend(first, 0, kPage));
  KvCache second(pool, 10 * kPage);
  second.share(first.pages(), kPage);
  ASSERT_TRUE(extend(first, 0, 1));
  ASSERT_TRUE(extend(second, 1, 1));
  EXPECT_EQ(pool->pages().free_pages(), 0);
  expect_held(first, 0, 0, kPage + 1);
  expect_held(second, 0, 0, kPage);
  expect_held(second, 1, kPage, kPage + 1);
}

TEST_P(Cache, ACopyNeedsAPage) {
  const auto pool = make_pool(2);
  KvCache first(pool, 10 * kPage);
  ASSERT_TRUE(extend(first, 0, kPage + 3));
  KvCache second(pool, 10 * kPage);
  second.share(first.pages(), kPage + 3);
  EXPECT_FALSE(second.reserve(1));
  EXPECT_TRUE(second.reserve(0));
  EXPECT_FALSE(first.reserve(1));
  second.truncate(kPage);
  ASSERT_TRUE(extend(first, 0, 1));
  expect_held(first, 0, 0, kPage + 4);
}

INSTANTIATE_TEST_SUITE_P(Types, Cache,
                         ::testing::Values(KvType::kBF16, KvType::kF32, KvType::kInt8));

// A row of zeros stays one; NaN and infinities reach whoever reads the row.
TEST(Int8Cache, RowsWithoutAScale) {
  KvCache cache({.n_layers = 1, .n_kv_heads = 1, .head_dim = 3, .capacity = 4}, KvType::kInt8);
  const std::vector<float> keys = {0, -0.0f, 0, 1, NAN, 2, 1, -INFINITY, 2, 1e-44f, -3e-44f, 0};
  ASSERT_TRUE(cache.reserve(4));
  for (int i = 0; i < 4; ++i) {
    cache.store(select_kernels(), 0, i, keys.data() + 3 * i, keys.data() + 3 * i);
  }
  const KvLayerView view = cache.pool()->layer(0);
  const std::byte* page = cache.pages()[0].data();
  const auto* key_scales = reinterpret_cast<const float*>(page + view.key_scales);
  const auto* value_scales = reinterpret_cast<const float*>(page + view.value_scales);
  EXPECT_EQ(key_scales[0], 0.0f);
  for (int d = 0; d < 3; ++d) EXPECT_EQ(page[view.keys + d], std::byte{0});
  EXPECT_TRUE(std::isnan(key_scales[1]));
  EXPECT_TRUE(std::isinf(value_scales[2]));
  EXPECT_LT(value_scales[3], 1e-44f);
}

TEST(KvCacheSize, TooLongAContextIsAnError) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_ERROR(
      KvCache({.n_layers = 32, .n_kv_heads = 8, .head_dim = 128, .capacity = most}, KvType::kBF16),
      HasSubstr("context"));
}

// The shape of an 8B model at its full context of 16 GiB: the first positions cost a page of it.
TEST(KvCacheSize, MemoryIsTakenAsPositionsAreFilled) {
  const KvCacheShape shape{.n_layers = 32, .n_kv_heads = 8, .head_dim = 128, .capacity = 131072};
  const std::int64_t before = peak_rss_bytes();
  KvCache cache(shape, KvType::kBF16);
  const std::vector<float> row(8 * 128, 1.0f);
  ASSERT_TRUE(cache.reserve(3));
  for (std::int64_t layer = 0; layer < shape.n_layers; ++layer) {
    for (std::int64_t position = 0; position < 3; ++position) {
      cache.store(select_kernels(), layer, position, row.data(), row.data());
    }
  }
  const std::int64_t page_bytes = kKvPagePositions * cache.pool()->bytes_per_position();
  EXPECT_EQ(page_bytes, std::int64_t{32} << 20);
  EXPECT_LT(peak_rss_bytes() - before, 3 * page_bytes / 2);
}

}  // namespace
}  // namespace nibble
