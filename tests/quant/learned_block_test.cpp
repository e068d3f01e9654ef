// What comes back through a decoder block, against differences of what it gives.
#include "nibble/quant/learning/learned_block.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <utility>

#include "bench/tiny_model.h"
#include "models/architecture_configs.h"
#include "nibble/kernels/select.h"
#include "nibble/models/rope_frequencies.h"
#include "nibble/quant/learning/activation_gradient.h"
#include "nibble/quant/pipeline.h"
#include "nibble/quant/rounders/per_group_rounder.h"

namespace nibble {
namespace {

using ::nibble::testing::make_tiny_model;
using ::nibble::testing::TemporaryFolder;

constexpr std::int64_t kBlockTokens = 70;  // more than a lot of rows of scores
constexpr float kStep = 0x1p-6F;           // 1 + kStep and 1 - kStep are bfloat16 numbers

/// Rounds per group, then to scales that are powers of two: so bfloat16 holds what kStep makes of
/// them.
class PowersOfTwo : public Rounder, public RowRounder {
 public:
  InputNeeds needs() const override { return InputNeeds::kNothing; }
  std::unique_ptr<RowRounder> prepare(Compute&, InputStatistics) const override {
    return std::make_unique<PowersOfTwo>();
  }
  void round(Compute&, int, std::span<const float> weights, IntegerRows& rows) const override {
    round_per_group(weights, rows);
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      for (std::int64_t c = 0; c < rows.cols; ++c) {
        const std::int64_t g = c / rows.group_size;
        rows.set_scale(r, g, std::exp2(std::ceil(std::log2(rows.grid(r, g).scale))));
        const auto at = static_cast<std::size_t>(r * rows.cols + c);
        rows.q[at] = static_cast<std::uint8_t>(rows.grid(r, g).nearest(weights[at]));
      }
    }
  }
};

std::vector<float> random_floats(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

class BlockGradient : public ::testing::TestWithParam<Json> {
 protected:
  void SetUp() override {
    const std::filesystem::path dense = make_tiny_model(folder_, {.bits = 16}, GetParam());
    const Checkpoint checkpoint(dense);
    const QuantizePlan plan = plan_quantization(checkpoint.spec(), {.group_size = 32});
    quantize_model({.checkpoint = checkpoint,
                    .plan = plan,
                    .method = {.blocks = {.rounder = std::make_shared<PowersOfTwo>()}},
                    .calibration = {},
                    .to = {.path = folder_ / "packed"}},
                   compute_);
    packed_.emplace(folder_ / "packed");
    loader_.emplace(*packed_, compute_, DType::kBF16, ActivationType::kF32);
    const ModelSpec& spec = packed_->spec();
    DecoderBlock block = load_block(*loader_, 1);
    // Differences over ReLU's kink are off by what lies within a step of it, and much does.
    if (block.mlp.activation == Activation::kRelu) block.mlp.activation = Activation::kGelu;
    block_.emplace(std::move(block), spec);
    if (spec.rope) rope_ = Rope(rope_frequencies(*spec.rope, spec.head_dim));
    rope_.append(0, kBlockTokens);
    x_ = random_floats(static_cast<std::size_t>(kBlockTokens * spec.hidden), 1);
    weights_ = random_floats(x_.size(), 2);
    // A block without residual sums would be a poor test of the rest: make its share large.
    for (float& value : x_) value *= 0.3F;
  }

  /// sum of weights_ * block(x).
  double loss(const std::vector<float>& x) {
    const ModelSpec& spec = packed_->spec();
    KvCache cache({.n_layers = 1,
                   .n_kv_heads = spec.n_kv_heads,
                   .head_dim = spec.head_dim,
                   .capacity = kBlockTokens},
                  KvType::kF32);
    cache.require(kBlockTokens);
    Pass pass(rope_);
    pass.begin();
    pass.add(cache, kBlockTokens);
    std::vector<float> out = x;
    block_->block().run(compute_, pass, 0, out.data());
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      sum += static_cast<double>(out[i]) * weights_[i];
    }
    return sum;
  }

  /// Moves the learned numbers along random signs, each way, and compares the difference of the
  /// losses with what the gradient says. It is off by the third derivative, a few per mille, and by
  /// the roundings of some thousand outputs of about 2: 5e-7 * sqrt(4480) / (2 kStep).
  template <typename Learned>
  void check(Learned& learned, const std::string& name) {
    LearnedNumbers& numbers = learned.numbers();
    const std::vector<float> random = random_floats(numbers.values.size(), 3);
    std::vector<float> signs;
    for (const float value : random) signs.push_back(value > 0 ? 1.0F : -1.0F);
    double expected = 0;
    double sizes = 0;
    for (std::size_t i = 0; i < signs.size(); ++i) {
      expected += static_cast<double>(numbers.gradient[i]) * signs[i];
      sizes += static_cast<double>(numbers.gradient[i]) * numbers.gradient[i];
    }
    const auto at = [&](float step) {
      for (std::size_t i = 0; i < signs.size(); ++i) numbers.values[i] = step * signs[i];
      learned.update();
      return loss(x_);
    };
    const double found = (at(kStep) - at(-kStep)) / (2 * kStep);
    at(0);
    EXPECT_NEAR(found, expected, 0.02 * std::sqrt(sizes) + 1e-3) << name;
    EXPECT_GT(sizes, 0) << name;
  }

  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
  TemporaryFolder folder_;
  std::optional<Checkpoint> packed_;
  std::optional<WeightLoader> loader_;
  std::optional<LearnedBlock> block_;
  Rope rope_;
  std::vector<float> x_;
  std::vector<float> weights_;
};

TEST_P(BlockGradient, IsThatOfDifferences) {
  std::vector<float> gradient = weights_;
  block_->backward(compute_, rope_, x_.data(), kBlockTokens, gradient.data());
  const std::vector<float> direction = random_floats(x_.size(), 4);
  double expected = 0;
  double sizes = 0;
  for (std::size_t i = 0; i < x_.size(); ++i) {
    expected += static_cast<double>(gradient[i]) * direction[i];
    sizes += static_cast<double>(gradient[i]) * gradient[i];
  }
  const auto at = [&](float step) {
    std::vector<float> moved = x_;
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += step * direction[i];
    return loss(moved);
  };
  EXPECT_NEAR((at(1e-3F) - at(-1e-3F)) / 2e-3, expected, 0.01 * std::sqrt(sizes));
  const std::vector<LearnedLinear*> linears = block_->linears();
  for (std::size_t i = 0; i < linears.size(); ++i) {
    check(*linears[i], "layer " + std::to_string(i));
  }
  const std::vector<LearnedNorm*> norms = block_->norms();
  for (std::size_t i = 0; i < norms.size(); ++i) check(*norms[i], "norm " + std::to_string(i));
}

TEST(ActivationSlopes, AreThoseOfDifferences) {
  constexpr float kSmall = 0x1p-7F;
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    const auto value = [&](float x) {
      float out = 0;
      kScalarKernels.activate(activation, &x, 1, &out);
      return out;
    };
    for (float x = -4.75F; x < 5; x += 0.5F) {  // 0 is between two of them
      SCOPED_TRACE(::testing::Message() << static_cast<int>(activation) << " at " << x);
      const ActivationSlope found = activation_slope(activation, x);
      EXPECT_NEAR(found.value, value(x), 1e-6);
      // Off by a sixth of the third derivative, at most 2, times the step's square, and by
      // roundings of 5 * 2^-24 over the step.
      EXPECT_NEAR(found.slope, (value(x + kSmall) - value(x - kSmall)) / (2 * kSmall), 7e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, BlockGradient, ::testing::ValuesIn(testing::architecture_configs()));

}  // namespace
}  // namespace nibble
