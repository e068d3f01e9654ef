#include "nibble/quant/target_bits.h"

#include <gtest/gtest.h>

#include "core/error_matchers.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/calibration/text.h"
#include "nibble/quant/forecast.h"
#include "paths.h"

namespace nibble {
namespace {

class TargetBits : public ::testing::Test {
 protected:
  QuantizePlan planned() const {
    return plan_quantization(checkpoint_.spec(), {.bits = 3, .group_size = 32});
  }
  std::vector<LayerFormats> measure(int threads) const {
    ThreadPool pool(threads);
    Compute compute(select_kernels(), pool);
    const auto ids = calibration_blocks(
        checkpoint_.load_tokenizer(),
        {.texts = {{testing::data_file("stories.txt")}}, .n_samples = 4, .seq_len = 64});
    return measure_formats(checkpoint_, planned(), ids, compute);
  }

  Checkpoint checkpoint_{testing::data_file("stories260K")};
};

TEST_F(TargetBits, AreMeasuredOfEveryLayerAndOfAnyNumberOfThreadsAlike) {
  const auto one = measure(1);
  const auto three = measure(3);
  ASSERT_EQ(one.size(), planned().layers.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    ASSERT_EQ(one[i].formats.size(), 3u);
    for (std::size_t f = 0; f < 3; ++f) {
      EXPECT_EQ(one[i].formats[f].loss, three[i].formats[f].loss);
      if (f > 0) {
        EXPECT_LT(one[i].formats[f].loss, one[i].formats[f - 1].loss) << i;
      }
    }
  }
}

TEST_F(TargetBits, NeverPassTheBudgetAndLoseLessWithMore) {
  const auto measured = measure(2);
  double before = 1e9;
  for (const double target : {3.8, 4.2, 4.7, 6.0, 9.0}) {
    QuantizePlan plan = planned();
    choose_formats(checkpoint_.spec(), measured, target, plan);
    EXPECT_LE(bits_per_weight(checkpoint_.spec(), plan), target);
    EXPECT_GT(bits_per_weight(checkpoint_.spec(), plan), target < 8 ? target - 0.3 : 8);
    double loss = 0;
    for (const LayerFormats& layer : measured) {
      for (const auto& [layout, lost] : layer.formats) {
        if (plan.layers[layer.layer].layout.format == layout.format) loss += lost;
      }
    }
    EXPECT_LT(loss, before);
    before = loss;
  }
}

/// Losses of one layer's formats made up: w4 that is hardly better than w3 is passed over.
TEST_F(TargetBits, TakeTheStepThatGainsMostForABit) {
  auto measured = measure(1);
  for (LayerFormats& layer : measured) {
    const bool is_first = layer.layer == 0;
    layer.formats[0].loss = is_first ? 100 : 1;
    layer.formats[1].loss = is_first ? 99.9 : 0.9;
    layer.formats[2].loss = is_first ? 0 : 0.8;
  }
  QuantizePlan plan = planned();
  choose_formats(checkpoint_.spec(), measured, 3.9, plan);
  EXPECT_EQ(plan.layers[0].layout.format, WeightFormat::kW8);
}

TEST_F(TargetBits, BelowTheFewestAreRefused) {
  QuantizePlan plan = planned();
  EXPECT_ERROR(
      choose_formats(checkpoint_.spec(), measure(1), 2.5, plan),
      ::testing::HasSubstr("--target-bpw 2.5: with the fewest bits for each layer it is 3."));
}

}  // namespace
}  // namespace nibble
