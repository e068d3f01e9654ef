// Scales that are moved change no output of a block in floats, in every architecture.
#include "nibble/quant/transforms/fold_scales.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "bench/tiny_model.h"
#include "core/error_matchers.h"
#include "models/architecture_configs.h"
#include "nibble/core/bfloat16.h"
#include "nibble/kernels/select.h"

namespace nibble {
namespace {

using ::nibble::testing::make_tiny_model;
using ::nibble::testing::TemporaryFolder;

constexpr std::int64_t kTokens = 20;

std::vector<float> random_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = normal(random);
  return numbers;
}

/// Scales between 1/30 and 30.
std::vector<float> random_scales(std::size_t count, unsigned seed) {
  std::vector<float> scales = random_numbers(count, seed);
  for (float& scale : scales) scale = std::exp(1.2F * std::clamp(scale, -2.8F, 2.8F));
  return scales;
}

/// Block 0 of a random model of an architecture, its norms and biases random too.
class FoldScales : public ::testing::TestWithParam<Json> {
 protected:
  FoldScales()
      : checkpoint_(make_tiny_model(folder_, {.bits = 16}, GetParam())),
        plan_(plan_quantization(spec(), {.group_size = 32})),
        loader_(checkpoint_, compute_, DType::kBF16, ActivationType::kF32),
        block_(load_block(loader_, 0)) {
    unsigned seed = 0;
    for (Norm* norm : {&block_.input_norm, &block_.post_norm}) {
      for (float& w : norm->weight) w = 1;
      add_noise(norm->weight, 0.3F, ++seed);
      if (spec().norm.has_bias) add_noise(norm->bias, 1, ++seed);
    }
    for (const Linear* layer : block_.linears())
      add_noise(const_cast<Linear*>(layer)->bias, 1, ++seed);
  }

  static void add_noise(std::vector<float>& numbers, float size, unsigned seed) {
    const std::vector<float> noise = random_numbers(numbers.size(), seed);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = round_to_bfloat16(numbers[i] + size * noise[i]);
    }
  }

  const ModelSpec& spec() const { return checkpoint_.spec(); }

  std::vector<float> output(const DecoderBlock& block) {
    ActivationSpace space;
    CalibrationStream stream(compute_, spec(), {1, kTokens}, true, space);
    std::vector<float> x = random_numbers(static_cast<std::size_t>(kTokens * spec().hidden), 99);
    block.run(compute_, stream.pass(), 0, x.data());
    return x;
  }

  TransformContext context() {
    return {.compute = compute_,
            .spec = spec(),
            .plan = plan_,
            .layer = 0,
            .stream = nullptr,
            .moves_on = false,
            .block = block_,
            .rewritten = rewritten_};
  }

  TemporaryFolder folder_;
  Checkpoint checkpoint_;
  QuantizePlan plan_;
  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
  WeightLoader loader_;
  DecoderBlock block_;
  RewrittenParameters rewritten_;
};

// A scaled weight is off by up to 2^-24 of itself, and what it is divided by likewise, as are all
// intermediate sums of the products (96 at most) in both blocks: 1e-5 of the outputs' size is some
// ten times what that makes in a root of mean squares.
TEST_P(FoldScales, ChangeNoOutput) {
  const std::vector<float> before = output(block_);
  unsigned seed = 50;
  for (const ScaleGroup& group : spec().scale_groups()) {
    const auto inputs = static_cast<std::size_t>(spec().block_linear(group.layers.front())->in);
    fold_scales(context(), group, random_scales(inputs, ++seed));
  }
  const std::vector<float> after = output(block_);
  double off = 0;
  double size = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    off += std::pow(static_cast<double>(after[i]) - before[i], 2);
    size += std::pow(static_cast<double>(before[i]), 2);
  }
  EXPECT_LT(std::sqrt(off / size), 1e-5);
  EXPECT_GT(off, 0);  // something was done
}

// What is written of the norms and biases: with the layers' scaled weights it must be the block.
TEST_P(FoldScales, WhatIsRewrittenIsWhatTheBlockHas) {
  for (const ScaleGroup& group : spec().scale_groups()) {
    const auto inputs = static_cast<std::size_t>(spec().block_linear(group.layers.front())->in);
    fold_scales(context(), group, random_scales(inputs, 3));
    const std::string name = spec().block_module(group.before, 0);
    if (const Norm* norm = block_.norm(group.before)) {
      const std::vector<float>& stored = rewritten_.at(name + ".weight");
      for (std::size_t i = 0; i < stored.size(); ++i) {
        if (spec().norm.weight_offset == 0) {
          EXPECT_EQ(stored[i], norm->weight[i]);
        } else {  // to the bit, however coarse: a norm of 1 + w that is nearly 0 has few digits in
                  // w
          EXPECT_EQ(round_to_bfloat16(stored[i]) + spec().norm.weight_offset, norm->weight[i]);
          EXPECT_NE(norm->weight[i], 0);
        }
      }
      EXPECT_EQ(rewritten_.contains(name + ".bias"), spec().norm.has_bias);
    } else {
      const std::vector<float>& bias = block_.linear(group.before)->bias;
      EXPECT_EQ(rewritten_.contains(name + ".bias"), !bias.empty());
      if (!bias.empty()) {
        EXPECT_EQ(rewritten_.at(name + ".bias"), bias);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, FoldScales, ::testing::ValuesIn([] {
      std::vector<Json> all = testing::architecture_configs();
      all.push_back(testing::rotary_config("LlamaForCausalLM", {{"num_key_value_heads", 4}}));
      return all;
    }()));

TEST(FoldScalesAlone, LayersThatStayAsTheyAreAndThoseBeforeThemTakeNone) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {.bits = 16}, testing::opt_config()));
  const auto groups = [&](std::vector<std::string> exclude) {
    const QuantizePlan plan =
        plan_quantization(checkpoint.spec(), {.group_size = 32, .exclude = std::move(exclude)});
    return scalable_groups(checkpoint.spec(), plan, 0).size();
  };
  EXPECT_EQ(groups({}), 4U);
  EXPECT_EQ(groups({"*.q_proj"}), 3U);
  EXPECT_EQ(groups({"*.v_proj"}), 2U);  // before o, too
  EXPECT_EQ(groups({"*.fc1"}), 2U);
  EXPECT_EQ(groups({"*.1.fc1"}), 4U);  // of another block
}

}  // namespace
}  // namespace nibble
