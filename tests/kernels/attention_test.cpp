// Every kernel set's attention against softmax(scale q.K) V in double.
//
// The bound. With u = 2^-24 a score is off by at most e = gamma_(head_dim + 2) * scale * sum
// |q||k|, which changes its weight by a factor of 1 +- 2 e (e is small) in the numerator and the
// denominator each; exp adds at most 4 u, every chunk's correction exp(old max - new max) the same
// and the rounding of a difference that is smaller than the largest |score|, and the sums over
// positions gamma_positions. Together a relative error for each weight, so that the output is off
// by at most that times sum weight |v|, and by 2^-126 |v| for weights that underflow. The maximum
// is a score as computed and cancels. int8 scales cost one rounding more in scores and weights
// each.
//
// Sets that round (attention_rounds) are compared with queries rounded in the same way. Their
// weights are off by bfloat16's 2^-9 and an exp2 to 2^-18, of a product whose roundings amount to
// 6 u of the largest |score|.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/guarded_buffer.h"
#include "nibble/kernels/select.h"

namespace nibble::test {
namespace {

struct Shape {
  std::int64_t tokens;
  std::int64_t heads;
  std::int64_t head_dim;
  std::int64_t positions;      // in the whole cache
  std::int64_t chunk;          // positions a chunk
  std::int64_t visible_first;  // positions that token 0 sees; one more for each further token
  float scale = 0.125F;
  std::int64_t window = 0;  // positions that a token sees at most; 0: all

  std::int64_t seen_from(std::int64_t token) const {
    return window == 0 ? 0 : std::max<std::int64_t>(0, visible_first + token - window);
  }
  std::int64_t seen_to(std::int64_t token) const {
    return std::min(positions, visible_first + token);
  }
};

template <typename Cache>
Cache from_float(float x) {
  if constexpr (std::is_same_v<Cache, float>) {
    return x;
  } else if constexpr (std::is_same_v<Cache, BFloat16>) {
    return to_bfloat16(x);
  } else {
    return static_cast<Cache>(std::clamp(std::round(x * 40), -127.0F, 127.0F));
  }
}
double to_double(float x) {
  return x;
}
double to_double(std::int8_t x) {
  return x;
}
double to_double(BFloat16 x) {
  return to_float(x);
}

template <typename Cache>
struct Operands {
  Operands(const Shape& shape, unsigned seed)
      : q_stride(shape.heads * shape.head_dim + 5),
        q(static_cast<std::size_t>((shape.tokens - 1) * q_stride + shape.heads * shape.head_dim)),
        keys(static_cast<std::size_t>(shape.positions * shape.head_dim)),
        values(keys.size()),
        key_scales(static_cast<std::size_t>(shape.positions)),
        value_scales(key_scales.size()) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float& x : q.span()) x = normal(random);
    for (Cache& x : keys.span()) x = from_float<Cache>(normal(random));
    for (Cache& x : values.span()) x = from_float<Cache>(normal(random));
    std::uniform_real_distribution<float> scale(0.02F, 0.03F);
    for (float& x : key_scales.span()) x = scale(random);
    for (float& x : value_scales.span()) x = scale(random);
  }
  double key(std::int64_t position, std::int64_t i) const {
    return to_double(keys.data()[i]) * scale_of(key_scales, position);
  }
  double value(std::int64_t position, std::int64_t i) const {
    return to_double(values.data()[i]) * scale_of(value_scales, position);
  }
  std::int64_t q_stride;
  GuardedBuffer<float> q;
  GuardedBuffer<Cache> keys;
  GuardedBuffer<Cache> values;
  GuardedBuffer<float> key_scales;  // of int8 only
  GuardedBuffer<float> value_scales;

 private:
  static double scale_of(const GuardedBuffer<float>& scales, std::int64_t position) {
    return std::is_same_v<Cache, std::int8_t> ? scales[static_cast<std::size_t>(position)] : 1;
  }
};

struct State {
  explicit State(const Shape& shape)
      : max(static_cast<std::size_t>(shape.tokens * shape.heads)),
        sum(max.size()),
        acc(max.size() * static_cast<std::size_t>(shape.head_dim)) {
    for (float& x : max.span()) x = -INFINITY;
  }
  GuardedBuffer<float> max;
  GuardedBuffer<float> sum;
  GuardedBuffer<float> acc;
};

class AttentionTest : public testing::TestWithParam<const KernelSet*> {
 protected:
  template <typename Cache>
  AttentionTask task(const Shape& shape, const Operands<Cache>& operands, State& state) {
    AttentionTask result{};
    result.q = operands.q.data();
    result.q_stride = operands.q_stride;
    result.tokens = shape.tokens;
    result.heads = shape.heads;
    result.head_dim = shape.head_dim;
    result.scale = shape.scale;
    result.max = state.max.data();
    result.sum = state.sum.data();
    result.acc = state.acc.data();
    return result;
  }

  // All chunks in turn.
  template <typename Cache>
  void run(const Shape& shape, const Operands<Cache>& operands, State& state) {
    GuardedBuffer<std::byte> scratch((GetParam()->attention_scratch_bytes(shape.head_dim) + 63) /
                                     64 * 64);
    AttentionTask chunk = task(shape, operands, state);
    chunk.scratch = scratch.data();
    for (std::int64_t begin = 0; begin < shape.positions; begin += shape.chunk) {
      chunk.keys = operands.keys.data() + begin * shape.head_dim;
      chunk.values = operands.values.data() + begin * shape.head_dim;
      chunk.key_scales = operands.key_scales.data() + begin;
      chunk.value_scales = operands.value_scales.data() + begin;
      chunk.positions = std::min(shape.chunk, shape.positions - begin);
      chunk.visible = shape.visible_first - begin;
      if (shape.window > 0) chunk.passed = chunk.visible - shape.window;
      if constexpr (std::is_same_v<Cache, float>) {
        GetParam()->attention_f32(chunk);
      } else if constexpr (std::is_same_v<Cache, BFloat16>) {
        GetParam()->attention_bf16(chunk);
      } else {
        GetParam()->attention_int8(chunk);
      }
    }
  }

  template <typename Cache>
  bool rounds() const {
    return GetParam()->attention_rounds && !std::is_same_v<Cache, float>;
  }

  template <typename Cache>
  void check_row(const Shape& shape, const Operands<Cache>& operands, const State& state,
                 std::int64_t token, std::int64_t head) {
    const std::int64_t dim = shape.head_dim;
    const std::int64_t row = token * shape.heads + head;
    const std::int64_t first = shape.seen_from(token);
    const std::int64_t seen = shape.seen_to(token);
    const auto at = static_cast<std::size_t>(row);
    if (seen <= first) {
      EXPECT_EQ(state.max[at], -INFINITY);
      EXPECT_EQ(state.sum[at], 0.0F);
      for (std::int64_t d = 0; d < dim; ++d) {
        EXPECT_EQ(state.acc[static_cast<std::size_t>(row * dim + d)], 0.0F);
      }
      return;
    }
    const float* q = operands.q.data() + token * operands.q_stride + head * dim;
    std::vector<double> scores;
    double largest = 0;  // sum |q||k| * scale
    double top = -INFINITY;
    for (std::int64_t p = first; p < seen; ++p) {
      double score = 0;
      double magnitude = 0;
      for (std::int64_t d = 0; d < dim; ++d) {
        const double element = rounds<Cache>() ? round_to_bfloat16(q[d]) : q[d];
        const double product = element * operands.key(p, p * dim + d);
        score += product;
        magnitude += std::fabs(product);
      }
      scores.push_back(score * shape.scale);
      top = std::max(top, score * shape.scale);
      largest = std::max(largest, magnitude * shape.scale);
    }
    double sum = 0;
    std::vector<double> expected(static_cast<std::size_t>(dim));
    std::vector<double> magnitude(static_cast<std::size_t>(dim));
    std::vector<double> underflow(static_cast<std::size_t>(dim));
    for (std::int64_t p = first; p < seen; ++p) {
      const double weight = std::exp(scores[static_cast<std::size_t>(p - first)] - top);
      sum += weight;
      for (std::int64_t d = 0; d < dim; ++d) {
        const double value = weight * operands.value(p, p * dim + d);
        expected[static_cast<std::size_t>(d)] += value;
        magnitude[static_cast<std::size_t>(d)] += std::fabs(value);
        underflow[static_cast<std::size_t>(d)] +=
            0x1p-126 * std::fabs(operands.value(p, p * dim + d));
      }
    }
    const double u = 0x1p-24;
    const double chunks = static_cast<double>((seen + shape.chunk - 1) / shape.chunk);
    double relative =
        2 * (2 * static_cast<double>(dim + 3) * u * largest + (4 + 2 * largest) * u * (chunks + 1) +
             static_cast<double>(seen + 6) * u);
    if (rounds<Cache>()) relative += 2 * (1.01 * 0x1p-9 + 0x1p-18 + 6 * u * largest);
    for (std::int64_t d = 0; d < dim; ++d) {
      const auto i = static_cast<std::size_t>(d);
      const double out =
          static_cast<double>(state.acc[static_cast<std::size_t>(row * dim + d)]) / state.sum[at];
      ASSERT_NEAR(out, expected[i] / sum, (relative * magnitude[i] + underflow[i]) / sum)
          << "token " << token << " head " << head << " d " << d;
    }
  }

  template <typename Cache>
  void check_cache(const Shape& shape) {
    const Operands<Cache> operands(shape, static_cast<unsigned>(shape.head_dim + shape.positions));
    State state(shape);
    run(shape, operands, state);
    for (std::int64_t token = 0; token < shape.tokens; ++token) {
      for (std::int64_t head = 0; head < shape.heads; ++head) {
        check_row(shape, operands, state, token, head);
      }
    }
  }

  void check(const Shape& shape) {
    SCOPED_TRACE(testing::Message()
                 << "tokens " << shape.tokens << " heads " << shape.heads << " head_dim "
                 << shape.head_dim << " positions " << shape.positions << " chunk " << shape.chunk
                 << " visible " << shape.visible_first);
    check_cache<float>(shape);
    check_cache<BFloat16>(shape);
    check_cache<std::int8_t>(shape);
  }
};

TEST_P(AttentionTest, DecodesOverSeveralChunks) {
  for (const std::int64_t head_dim : {1, 7, 8, 16, 31, 32, 33, 48, 64, 80, 96, 128, 256}) {
    for (const std::int64_t heads : {1, 3, 4, 8, 13}) {
      check({1, heads, head_dim, 600, 256, 600});
    }
  }
}

TEST_P(AttentionTest, CacheLengths) {
  for (const std::int64_t positions : {1, 2, 15, 16, 17, 31, 32, 33, 100, 255, 256, 257}) {
    check({1, 4, 64, positions, 256, positions});
    check({1, 1, 80, positions, 16, positions});
  }
}

TEST_P(AttentionTest, PrefillIsCausal) {
  for (const std::int64_t head_dim : {16, 20, 64, 80, 128}) {
    check({64, 1, head_dim, 64, 256, 1});     // from an empty cache
    check({16, 4, head_dim, 316, 256, 301});  // after 300 positions; a chunk's end lies within
    check({21, 3, head_dim, 40, 16, 20});     // chunks that some tokens do not reach
    check({5, 1, head_dim, 300, 100, 297});
    check({32, 4, head_dim, 300, 256, 269});  // the largest tile
    check({25, 5, head_dim, 77, 32, 50});
  }
}

// More positions in the cache than the tile's tokens may see, and tokens that see none.
TEST_P(AttentionTest, TokensThatSeeNothing) {
  check({8, 2, 64, 64, 64, -3});
  check({4, 2, 33, 64, 32, -3});  // the last one sees 0
  check({4, 16, 64, 64, 32, 30});
}

// Windows that end within a chunk, at its borders and before it, for few rows and many.
TEST_P(AttentionTest, SlidingWindows) {
  for (const std::int64_t window : {1, 2, 15, 16, 17, 33, 100, 300}) {
    for (const std::int64_t chunk : {16, 40, 256}) {
      check({1, 4, 48, 290, chunk, 290, 0.125F, window});
      check({7, 2, 20, 290, chunk, 284, 0.125F, window});
      check({33, 3, 64, 130, chunk, 98, 0.125F, window});
      check({64, 2, 16, 64, chunk, 1, 0.125F, window});
    }
  }
  check({40, 3, 33, 60, 30, -5, 0.125F, 7});  // tokens that see nothing, then few
}

TEST_P(AttentionTest, HeadDimensionPastAChunk) {
  check({3, 5, 515, 40, 32, 38});
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  Shape shape{4, 4, 64, 300, 128, 297};
  shape.scale = 40.0F;
  check(shape);
}

// What many rows see does not depend on how many there are.
TEST_P(AttentionTest, EveryNumberOfRows) {
  for (std::int64_t rows = 1; rows <= 40; ++rows) check({rows, 1, 48, rows + 30, 37, 30});
}

// Scores of -inf are positions without weight, also as the first ones seen.
TEST_P(AttentionTest, MinusInfinityHasNoWeight) {
  const Shape shape{1, 1, 16, 40, 20, 40};
  const auto check_sums = [&]<typename Cache>(Operands<Cache> operands) {
    for (float& x : operands.q.span()) x = 1.0F;
    for (std::int64_t i = 0; i < 25 * shape.head_dim; ++i) {
      operands.keys[static_cast<std::size_t>(i)] =
          from_float<Cache>(i % 16 == 0 ? -INFINITY : 1.0F);
    }
    for (std::int64_t i = 25 * shape.head_dim; i < 40 * shape.head_dim; ++i) {
      operands.keys[static_cast<std::size_t>(i)] = from_float<Cache>(0.5F);
      operands.values[static_cast<std::size_t>(i)] = from_float<Cache>(3.0F);
    }
    State state(shape);
    run(shape, operands, state);
    EXPECT_EQ(state.max[0], 8.0F * shape.scale);
    EXPECT_EQ(state.sum[0], 15.0F);
    for (const float x : state.acc.span()) EXPECT_EQ(x, 45.0F);
  };
  check_sums(Operands<float>(shape, 1));
  check_sums(Operands<BFloat16>(shape, 1));
}

TEST_P(AttentionTest, NaNReachesTheOutput) {
  for (const std::int64_t heads : {2, 15}) {  // few rows and many
    const Shape shape{1, heads, 16, 40, 40, 40};
    const auto check_outputs = [&]<typename Cache>(Operands<Cache> operands) {
      if constexpr (std::is_same_v<Cache, std::int8_t>) {
        operands.key_scales[35] = NAN;
      } else {
        operands.keys[35 * 16] = from_float<Cache>(NAN);
      }
      State state(shape);
      run(shape, operands, state);
      EXPECT_TRUE(std::isnan(state.acc[3] / state.sum[0]));
      EXPECT_TRUE(std::isnan(state.acc[19] / state.sum[1]));
    };
    check_outputs(Operands<float>(shape, 1));
    check_outputs(Operands<BFloat16>(shape, 1));
    check_outputs(Operands<std::int8_t>(shape, 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, AttentionTest,
                         testing::ValuesIn(supported_kernels().begin(), supported_kernels().end()),
                         [](const auto& set) { return std::string(set.param->name); });

}  // namespace
}  // namespace nibble::test
