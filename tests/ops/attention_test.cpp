// attention() against softmax(q k^T / sqrt(d)) v in float64, over every way to cut the work.
#include "nibble/ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "nibble/kernels/select.h"

namespace nibble {
namespace {

/// One call: what the cache holds before it and what comes in.
struct Call {
  AttentionShape shape;
  std::int64_t start;
  std::int64_t tokens;

  std::int64_t first_seen(std::int64_t token) const {
    const std::int64_t first = start + token + 1 - shape.window;
    return shape.window == 0 ? 0 : std::max<std::int64_t>(0, first);
  }
};

/// Queries, keys and values of a call. The keys and values are whole multiples of a power of two
/// for each position and head, so that every type of cache holds them exactly.
struct Inputs {
  Inputs(const Call& call, KvType type, unsigned seed = 3)
      : capacity(call.start + call.tokens),
        pool(static_cast<std::size_t>(call.shape.n_kv_heads * kKvPagePositions *
                                      (2 * call.shape.head_dim + 2)) *
                 sizeof(float),
             (capacity + kKvPagePositions - 1) / kKvPagePositions) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    const AttentionShape& s = call.shape;
    q.resize(static_cast<std::size_t>(call.tokens * s.n_heads * s.head_dim));
    for (float& value : q) value = 2 * normal(random);
    const std::int64_t rows = s.n_kv_heads * kKvPagePositions;
    const std::int64_t part = rows * s.head_dim * static_cast<std::int64_t>(sizeof(float));
    view = {.type = type,
            .keys = 0,
            .values = part,
            .key_scales = 2 * part,
            .value_scales = 2 * part + rows * static_cast<std::int64_t>(sizeof(float))};
    while (pool.free_pages() > 0) {
      pages.push_back(pool.take());
      // What lies behind the last position must not be looked at, nor what is before all windows.
      std::memset(pages.back().data(), 0xff, pool.page_bytes());  // NaN, as floats of any kind
    }
    fill(call, keys, view.keys, view.key_scales, random);
    fill(call, values, view.values, view.value_scales, random);
  }
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;

  KvSequence sequence(const Call& call) const { return {pages, call.start, call.tokens}; }

  std::int64_t capacity;
  std::vector<float> q;
  std::vector<float> keys;  // (n_kv_heads, capacity, head_dim)
  std::vector<float> values;
  PagePool pool;
  std::vector<Page> pages;
  KvLayerView view{};

 private:
  void fill(const Call& call, std::vector<float>& plain, std::int64_t offset,
            std::int64_t scale_offset, std::mt19937& random) {
    std::normal_distribution<float> normal(0.0f, 40.0f);
    const std::int64_t dim = call.shape.head_dim;
    for (std::int64_t head = 0; head < call.shape.n_kv_heads; ++head) {
      for (std::int64_t at = 0; at < capacity; ++at) {
        std::byte* page = pages[static_cast<std::size_t>(at / kKvPagePositions)].data();
        const std::int64_t row = head * kKvPagePositions + at % kKvPagePositions;
        const bool is_seen = at >= call.first_seen(0);
        const float scale = !is_seen ? NAN : row % 3 == 0 ? 0x1p-5f : 0x1p-6f;
        if (view.type == KvType::kInt8) {
          reinterpret_cast<float*>(page + scale_offset)[row] = scale;
        }
        for (std::int64_t d = 0; d < dim; ++d) {
          const float code = std::clamp(std::round(normal(random)), -127.0f, 127.0f);
          plain.push_back(code * scale);
          put(page + offset, row * dim + d, code, scale);
        }
      }
    }
  }

  void put(std::byte* part, std::int64_t at, float code, float scale) const {
    switch (view.type) {
      case KvType::kF32:
        reinterpret_cast<float*>(part)[at] = code * scale;
        break;
      case KvType::kBF16:
        reinterpret_cast<BFloat16*>(part)[at] = to_bfloat16(code * scale);
        break;
      case KvType::kInt8:
        reinterpret_cast<std::int8_t*>(part)[at] = static_cast<std::int8_t>(code);
        break;
    }
  }
};

std::vector<float> attend(const KernelSet& kernels, int threads, const Call& call,
                          const Inputs& inputs, const FusionSet& fusion = FusionSet::all()) {
  ThreadPool pool(threads);
  Compute compute(kernels, pool);
  compute.set_fusion(fusion);
  std::vector<float> out(inputs.q.size(), -99.0f);
  const KvSequence sequence = inputs.sequence(call);
  KvLayerView view = inputs.view;
  view.sequences = {&sequence, 1};
  attention(compute, call.shape, view, inputs.q.data(), out.data());
  return out;
}

/// Output of one token and head in float64, and the bound of a float32 computation's error; with
/// `rounds`, of one whose queries and weights are rounded to bfloat16.
struct Reference {
  std::vector<double> out;        // (head_dim)
  std::vector<double> tolerance;  // (head_dim)
};

Reference reference(const Call& call, const Inputs& inputs, std::int64_t token, std::int64_t head,
                    bool rounds) {
  const AttentionShape& s = call.shape;
  const std::int64_t dim = s.head_dim;
  const std::int64_t kv_head = head / (s.n_heads / s.n_kv_heads);
  const float* q = inputs.q.data() + (token * s.n_heads + head) * dim;
  const float* keys = inputs.keys.data() + kv_head * inputs.capacity * dim;
  const float* values = inputs.values.data() + kv_head * inputs.capacity * dim;
  const std::int64_t first = call.first_seen(token);
  const std::int64_t positions = call.start + token + 1;
  std::vector<double> scores;
  double largest = -INFINITY;
  double magnitude = 0;  // of the largest score's terms
  for (std::int64_t p = first; p < positions; ++p) {
    double score = 0;
    double terms = 0;
    for (std::int64_t d = 0; d < dim; ++d) {
      const double query = rounds ? round_to_bfloat16(q[d]) : q[d];
      const double term = query * keys[p * dim + d] / std::sqrt(dim);
      score += term;
      terms += std::abs(term);
    }
    scores.push_back(score);
    largest = std::max(largest, score);
    magnitude = std::max(magnitude, terms);
  }
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  // A score's absolute error, (dim + 4) / 2^24 of its terms, is a weight's relative one; exp() adds
  // 2^-22; the sums over positions one rounding a position; weight and sum both carry it all.
  // Weights in bfloat16 add 2^-9, the exp2 for them 2^-18, its argument 6 roundings of the largest
  // score.
  double unit = 2 *
                ((static_cast<double>(dim) + 5) * magnitude + 6 + static_cast<double>(positions)) *
                0x1p-24;
  if (rounds) unit += 2 * (1.01 * 0x1p-9 + 0x1p-18 + 6 * magnitude * 0x1p-24);
  Reference result{std::vector<double>(static_cast<std::size_t>(dim)),
                   std::vector<double>(static_cast<std::size_t>(dim))};
  for (std::int64_t d = 0; d < dim; ++d) {
    for (std::int64_t p = first; p < positions; ++p) {
      const double term = scores[static_cast<std::size_t>(p - first)] / sum * values[p * dim + d];
      result.out[static_cast<std::size_t>(d)] += term;
      result.tolerance[static_cast<std::size_t>(d)] += std::abs(term) * unit;
    }
  }
  return result;
}

class Attention : public ::testing::TestWithParam<std::tuple<const KernelSet*, KvType>> {
 protected:
  /// Whether the arrangement's kernel rounds queries and weights.
  static bool rounds() {
    const auto& [kernels, type] = GetParam();
    return kernels->attention_rounds && type != KvType::kF32;
  }

  /// Checks a call, with 2 threads, against the reference, and 1 and 3 threads against 2.
  void expect_attention(const Call& call) const {
    const auto& [kernels, type] = GetParam();
    SCOPED_TRACE("heads " + std::to_string(call.shape.n_heads) + "/" +
                 std::to_string(call.shape.n_kv_heads) + " x " +
                 std::to_string(call.shape.head_dim) + ", start " + std::to_string(call.start) +
                 ", tokens " + std::to_string(call.tokens) + ", window " +
                 std::to_string(call.shape.window));
    const Inputs inputs(call, type);
    const std::vector<float> out = attend(*kernels, 2, call, inputs);
    EXPECT_EQ(attend(*kernels, 1, call, inputs), out);
    EXPECT_EQ(attend(*kernels, 3, call, inputs), out);
    expect_reference(call, inputs, out, rounds());
  }

  static void expect_reference(const Call& call, const Inputs& inputs,
                               const std::vector<float>& out, bool rounds) {
    for (std::int64_t token = 0; token < call.tokens; ++token) {
      for (std::int64_t head = 0; head < call.shape.n_heads; ++head) {
        const Reference expected = reference(call, inputs, token, head, rounds);
        for (std::int64_t d = 0; d < call.shape.head_dim; ++d) {
          const auto at = static_cast<std::size_t>(
              (token * call.shape.n_heads + head) * call.shape.head_dim + d);
          ASSERT_NEAR(out[at], expected.out[static_cast<std::size_t>(d)],
                      expected.tolerance[static_cast<std::size_t>(d)])
              << "token " << token << ", head " << head << ", element " << d;
        }
      }
    }
  }
};

// Chunks of the cache are 256 positions; up to 8 tokens over more than one are split by position.
TEST_P(Attention, OneTokenAtEveryBorderOfAChunk) {
  for (const std::int64_t positions : {1, 2, 255, 256, 257, 511, 512, 513, 1000}) {
    expect_attention({{4, 2, 16}, positions - 1, 1});
  }
}

TEST_P(Attention, FewTokensAtEveryBorderOfAChunk) {
  for (const std::int64_t tokens : {2, 7, 8}) {
    for (const std::int64_t positions : {8, 255, 256, 257, 260, 512, 513, 516}) {
      expect_attention({{4, 2, 8}, positions - tokens, tokens});
    }
  }
}

TEST_P(Attention, ManyTokensAtEveryBorderOfAChunk) {
  for (const std::int64_t positions : {255, 256, 257, 300}) {
    expect_attention({{2, 1, 8}, 0, positions});
  }
  for (const std::int64_t start : {1, 100, 247, 250, 255, 256, 257, 512}) {
    expect_attention({{3, 3, 8}, start, 9});
    expect_attention({{2, 1, 8}, start, 40});
  }
}

TEST_P(Attention, HeadsOfOddSizesAndGroups) {
  for (const AttentionShape& shape :
       {AttentionShape{1, 1, 1}, AttentionShape{1, 1, 2}, AttentionShape{6, 2, 5},
        AttentionShape{3, 1, 10}, AttentionShape{7, 7, 33}, AttentionShape{14, 2, 64},
        AttentionShape{5, 1, 80}, AttentionShape{8, 8, 128}}) {
    expect_attention({shape, 0, 20});
    expect_attention({shape, 270, 1});
    expect_attention({shape, 30, 3});
  }
}

TEST_P(Attention, MoreHeadsThanATileHasRowsShareAKvHead) {
  for (const AttentionShape& shape : {AttentionShape{128, 1, 6}, AttentionShape{129, 1, 6},
                                      AttentionShape{141, 1, 6}, AttentionShape{280, 2, 6}}) {
    expect_attention({shape, 0, 11});
    expect_attention({shape, 258, 1});
    expect_attention({shape, 258, 2});
  }
}

// Windows shorter and longer than a chunk, that begin at its borders and elsewhere; single tokens,
// few and many.
TEST_P(Attention, SlidingWindows) {
  for (const std::int64_t window : {1, 2, 17, 255, 256, 257, 300, 600}) {
    for (const std::int64_t start : {0, 254, 255, 256, 511, 513, 700}) {
      expect_attention({{4, 2, 16, window}, start, 1});
    }
    expect_attention({{4, 2, 8, window}, 509, 7});
    expect_attention({{2, 2, 10, window}, 300, 20});
    expect_attention({{8, 1, 8, window}, 0, 70});
  }
  expect_attention({{2, 1, 8, 100}, 400, 150});
}

// The same tokens, all at once or one at a time, see the same positions.
TEST_P(Attention, DecodingIsPrefilling) {
  const auto& [kernels, type] = GetParam();
  const Call all{{4, 2, 16}, 250, 12};
  const Inputs inputs(all, type);
  const std::vector<float> together = attend(*kernels, 2, all, inputs);
  for (std::int64_t token = 0; token < all.tokens; ++token) {
    ThreadPool pool(2);
    Compute compute(*kernels, pool);
    std::vector<float> alone(64);
    const KvSequence sequence{inputs.pages, 250 + token, 1};
    KvLayerView view = inputs.view;
    view.sequences = {&sequence, 1};
    attention(compute, all.shape, view, inputs.q.data() + token * 64, alone.data());
    const Reference expected = reference(all, inputs, token, 0, rounds());
    for (std::size_t d = 0; d < 16; ++d) {
      EXPECT_NEAR(alone[d], together[static_cast<std::size_t>(token) * 64 + d],
                  2 * expected.tolerance[d]);
    }
  }
}

// Sequences of all kinds in one call, none of which changes what another gets.
TEST_P(Attention, SequencesGetWhatTheyGetAlone) {
  const auto& [kernels, type] = GetParam();
  for (const AttentionShape& shape : {AttentionShape{4, 2, 16}, AttentionShape{6, 2, 8, 300}}) {
    const std::vector<Call> calls = {{shape, 0, 1},   {shape, 600, 1}, {shape, 3, 0},
                                     {shape, 0, 300}, {shape, 255, 2}, {shape, 700, 40},
                                     {shape, 513, 8}, {shape, 256, 1}};
    std::vector<std::unique_ptr<Inputs>> inputs;
    std::vector<KvSequence> sequences;
    std::vector<float> queries;
    std::vector<float> expected;
    for (const Call& call : calls) {
      inputs.push_back(
          std::make_unique<Inputs>(call, type, static_cast<unsigned>(sequences.size())));
      sequences.push_back(inputs.back()->sequence(call));
      queries.insert(queries.end(), inputs.back()->q.begin(), inputs.back()->q.end());
      const std::vector<float> alone = attend(*kernels, 2, call, *inputs.back());
      expected.insert(expected.end(), alone.begin(), alone.end());
    }
    KvLayerView view = inputs.front()->view;
    view.sequences = sequences;
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      Compute compute(*kernels, pool);
      std::vector<float> out(queries.size(), -99.0f);
      attention(compute, shape, view, queries.data(), out.data());
      EXPECT_EQ(out, expected) << threads << " threads";
    }
  }
}

// Without tiles nothing is rounded, whatever the kernels do.
TEST_P(Attention, RowByRow) {
  const auto& [kernels, type] = GetParam();
  for (const Call& call :
       {Call{{4, 2, 16}, 0, 1}, Call{{4, 2, 16}, 511, 1}, Call{{6, 2, 5}, 250, 12},
        Call{{3, 3, 33}, 0, 70}, Call{{4, 2, 8, 17}, 300, 20}, Call{{2, 1, 10, 300}, 513, 1}}) {
    const Inputs inputs(call, type);
    const std::vector<float> out = attend(*kernels, 2, call, inputs, {});
    EXPECT_EQ(attend(*kernels, 3, call, inputs, {}), out);
    expect_reference(call, inputs, out, false);
    // It is another computation, which shows wherever there is more than one position.
    if (call.start > 0) {
      EXPECT_NE(attend(*kernels, 2, call, inputs), out);
    }
  }
}

// Scores far from 0 must neither overflow nor vanish.
TEST_P(Attention, LargeScores) {
  const auto& [kernels, type] = GetParam();
  const Call call{{1, 1, 4}, 299, 1};
  Inputs inputs(call, type);
  for (float& value : inputs.q) value = 1000.0f;
  const std::vector<float> out = attend(*kernels, 2, call, inputs);
  const Reference expected = reference(call, inputs, 0, 0, rounds());
  for (std::size_t d = 0; d < 4; ++d) EXPECT_NEAR(out[d], expected.out[d], expected.tolerance[d]);
}

TEST_P(Attention, NoTokensAreNothing) {
  const auto& [kernels, type] = GetParam();
  ThreadPool pool(1);
  Compute compute(*kernels, pool);
  KvLayerView view = Inputs({{1, 1, 4}, 3, 1}, type).view;
  attention(compute, {1, 1, 4}, view, nullptr, nullptr);
  const KvSequence nothing{{}, 4, 0};
  view.sequences = {&nothing, 1};
  attention(compute, {1, 1, 4}, view, nullptr, nullptr);
}

std::string name_of(KvType type) {
  return type == KvType::kF32 ? "f32" : type == KvType::kBF16 ? "bf16" : "int8";
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, Attention,
    ::testing::Combine(::testing::ValuesIn(supported_kernels().begin(), supported_kernels().end()),
                       ::testing::Values(KvType::kBF16, KvType::kF32, KvType::kInt8)),
    [](const auto& arrangement) {
      return std::string(std::get<0>(arrangement.param)->name) + "_" +
             name_of(std::get<1>(arrangement.param));
    });

}  // namespace
}  // namespace nibble
