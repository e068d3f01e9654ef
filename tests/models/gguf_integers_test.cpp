// Q4_0, Q5_0 and Q8_0 run as the integers that they are.
#include "core/error_matchers.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/gguf.h"
#include "nibble/models/gguf_model.h"
#include "nibble/models/tensor_source.h"
#include "nibble/weights/repack.h"
#include "paths.h"

namespace nibble {
namespace {

class GgufIntegers : public ::testing::TestWithParam<const char*> {
 protected:
  GgufFile file_{testing::test_file("weights/fixtures/blocks.gguf")};
};

// In any row order: the numbers of the blocks to the bit, as (q - zero) * scale.
TEST_P(GgufIntegers, AreTheNumbersOfTheBlocks) {
  TensorView view = file_.get("blocks." + std::string(GetParam()));
  view.shape = {16, 64};  // of (2, 512): the same blocks
  for (const std::int64_t heads : {0, 1, 2}) {
    const CheckpointTensor tensor{"w", view, heads};
    const auto layer = gguf_integers(tensor);
    ASSERT_TRUE(layer.has_value());
    EXPECT_EQ(layer->format, GetParam());
    std::vector<float> expected(1024);
    read_rows(tensor, 0, 16, expected.data());
    std::vector<float> found(1024);
    dequantize_integers(layer->matrix, 0, 16, found.data());
    EXPECT_EQ(found, expected) << heads;
  }
}

TEST_P(GgufIntegers, HaveAPackedForm) {
  const TensorView view = file_.get("blocks." + std::string(GetParam()));
  const auto layer = gguf_integers({"w", view});
  const auto plan = plan_repack(layer->matrix);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->layout.format, WeightFormat::kW4);
  EXPECT_EQ(plan->layout.group_size, 32);
  EXPECT_EQ(plan->halves, std::string(GetParam()) == "Q4_0" ? 1 : 2);
}

// Bytes that cannot be read: who looks at one dies.
TEST_P(GgufIntegers, TheLayoutIsKnownWithoutTheBlocks) {
  TensorView view = file_.get("blocks." + std::string(GetParam()));
  const auto plan = plan_repack(gguf_integers({"w", view})->matrix);
  view.data = nullptr;
  const auto layout = repacked_layout(gguf_integers({"w", view})->matrix);
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(weight_bytes(*layout), weight_bytes(plan->layout));
  EXPECT_EQ(layout->group_size, plan->layout.group_size);
}

INSTANTIATE_TEST_SUITE_P(Types, GgufIntegers, ::testing::Values("Q4_0", "Q5_0", "Q8_0"));

TEST(GgufIntegersOf, OtherTypesAreNone) {
  const GgufFile file(testing::test_file("weights/fixtures/blocks.gguf"));
  for (const char* type : {"Q4_1", "Q6_K", "IQ4_NL"}) {
    EXPECT_FALSE(gguf_integers({"w", file.get("blocks." + std::string(type))}).has_value());
  }
}

}  // namespace
}  // namespace nibble
