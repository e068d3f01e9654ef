#include "nibble/npu/launches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error_matchers.h"

namespace nibble::npu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Counted {
  const char* model;
  Precision precision;
  const char* algorithm;
  Stack stack;
  bool flash_attention_plus;
  std::int64_t launches;
  std::int64_t head_launches;
};

// What the driver's code and the sheets give (the published runs' counts, data/npu).
TEST(Launches, AreThoseOfThePublishedRuns) {
  constexpr Precision kW4 = Precision::kW4ABF16;
  const Counted cases[] = {
      {"OPT-6.7B", kW4, "awq", Stack::kEager, false, 224, 0},
      {"OPT-6.7B", kW4, "awq", Stack::kEager, true, 160, 0},
      {"Llama-2-7B", Precision::kW8A8, "smoothquant", Stack::kEager, false, 1664, 32},
      {"Llama-2-7B", Precision::kW8A16, "smoothquant", Stack::kEager, false, 224, 3},
      {"Llama-3.1-8B", kW4, "pergrp", Stack::kEager, false, 256, 4},
      {"Llama-3.2-1B", kW4, "pergrp", Stack::kMladf, false, 112, 4},
      {"Qwen1.5-7B", kW4, "awqplus", Stack::kFast, false, 224, 5},
  };
  for (const Counted& each : cases) {
    SCOPED_TRACE(each.model);
    Recipe recipe = make_recipe(Device::kStx, each.stack,
                                {.name = each.algorithm, .precision = each.precision});
    recipe.flash_attention_plus = each.flash_attention_plus;
    const LaunchCount count = count_launches(*find_published_shape(each.model), recipe, 1);
    EXPECT_EQ(count.launches, each.launches);
    EXPECT_EQ(count.head_launches, each.head_launches);
    EXPECT_GE(count.padded_weights, count.weights);
    // Several rows of one kernel are no more launches.
    EXPECT_EQ(count_launches(*find_published_shape(each.model), recipe, 8).launches, each.launches);
  }
}

TEST(Launches, PadWeightsToTheirTiles) {
  const auto padding = [](const char* model, const Recipe& recipe) {
    const LaunchCount count = count_launches(*find_published_shape(model), recipe, 1);
    return static_cast<double>(count.padded_weights) / static_cast<double>(count.weights);
  };
  const Recipe awq = make_recipe(Device::kStx, Stack::kEager, {.name = "awq"});
  const Recipe per_group = make_recipe(Device::kStx, Stack::kEager, {.name = "pergrp"});
  const Recipe mladf = make_recipe(Device::kStx, Stack::kMladf, {.name = "pergrp"});
  const Recipe int8 = make_recipe(Device::kPhx, Stack::kEager,
                                  {.name = "smoothquant", .precision = Precision::kW8A8});
  EXPECT_NEAR(padding("OPT-6.7B", awq), 1.45, 0.005);
  EXPECT_NEAR(padding("Llama-3.1-8B", per_group), 1.95, 0.005);
  EXPECT_NEAR(padding("Llama-3.2-1B", mladf), 3.3, 0.05);
  EXPECT_NEAR(padding("Llama-2-7B", int8), 1.08, 0.005);
}

TEST(Launches, GiveRowsToTheLargestKernelsFirst) {
  const Recipe eager = make_recipe(Device::kPhx, Stack::kEager, {.name = "awq"});
  EXPECT_THAT(row_blocks(1, eager), ElementsAre(1));
  EXPECT_THAT(row_blocks(2, eager), ElementsAre(8));
  EXPECT_THAT(row_blocks(32, eager), ElementsAre(32));
  EXPECT_THAT(row_blocks(73, eager), ElementsAre(32, 32, 32));
  EXPECT_THAT(row_blocks(65, eager), ElementsAre(32, 32, 1));
  const Recipe fast = make_recipe(Device::kStx, Stack::kFast, {.name = "awq"});
  EXPECT_THAT(row_blocks(4097, fast), ElementsAre(2048, 2048, 1));
  EXPECT_THAT(row_blocks(129, fast), ElementsAre(256));
}

TEST(Recipes, ThatThereAreNotAreRefused) {
  const auto make = [](Device device, Stack stack, const Algorithm& algorithm) {
    make_recipe(device, stack, algorithm);
  };
  EXPECT_ERROR(make(Device::kPhx, Stack::kEager, {.name = "gptq"}),
               HasSubstr("unknown algorithm \"gptq\""));
  EXPECT_ERROR(make(Device::kPhx, Stack::kEager, {.name = "smoothquant"}),
               HasSubstr("not an algorithm of w4abf16"));
  EXPECT_ERROR(make(Device::kPhx, Stack::kFast, {.name = "awq"}), HasSubstr("fast kernels"));
  const Algorithm int16{.name = "smoothquant", .precision = Precision::kW8A16};
  EXPECT_ERROR(make(Device::kPhx, Stack::kEager, int16), HasSubstr("w8a16 runs on STX"));
  const Algorithm no_groups{.name = "awq", .group_size = 0};
  EXPECT_ERROR(make(Device::kStx, Stack::kEager, no_groups), HasSubstr("group size 0"));
}

}  // namespace
}  // namespace nibble::npu
