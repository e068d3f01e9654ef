#include "nibble/bench/operation_counts.h"

#include <gmock/gmock.h>

#include "bench/tiny_model.h"
#include "nibble/models/token_cost.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;

std::vector<std::int64_t> sizes(const ProductShape& shape) {
  return {shape.m, shape.k, shape.n, shape.count};
}

TEST(ProductShapes, OfOneSizeAreOne) {
  const testing::TemporaryFolder folder;
  const Checkpoint checkpoint(testing::make_tiny_model(folder, {}));
  const std::vector<ProductShape> shapes = product_shapes(checkpoint.spec(), 7);
  ASSERT_EQ(shapes.size(), 5u);
  EXPECT_THAT(sizes(shapes[0]), ElementsAre(7, 64, 64, 6));  // 3 layers
  EXPECT_THAT(shapes[0].modules, ElementsAre("q_proj", "o_proj"));
  EXPECT_THAT(sizes(shapes[1]), ElementsAre(7, 64, 32, 6));
  EXPECT_THAT(sizes(shapes[2]), ElementsAre(7, 64, 96, 6));
  EXPECT_THAT(sizes(shapes[3]), ElementsAre(7, 96, 64, 3));
  EXPECT_THAT(sizes(shapes[4]), ElementsAre(1, 64, 203, 1));
  EXPECT_THAT(shapes[4].modules, ElementsAre("lm_head"));
}

TEST(CountOperations, OfATokenAreThoseOfItsCost) {
  const testing::TemporaryFolder folder;
  const Checkpoint checkpoint(testing::make_tiny_model(folder, {}));
  const TokenCost cost = token_cost(checkpoint, DType::kBF16);
  const OperationCount step = count_operations(checkpoint.spec(), 9, 1);
  EXPECT_EQ(step.linear, cost.operations);
  EXPECT_EQ(step.attention, 10 * cost.attention_operations);
  const OperationCount prompt = count_operations(checkpoint.spec(), 0, 4);
  EXPECT_EQ(prompt.attention, (1 + 2 + 3 + 4) * cost.attention_operations);
  EXPECT_EQ(prompt.total(), prompt.linear + prompt.attention);
}

TEST(CountOperations, WindowsBoundWhatIsSeen) {
  ModelSpec spec;
  spec.n_layers = 2;
  spec.n_heads = 1;
  spec.head_dim = 1;
  spec.windows = {3, 0};
  EXPECT_EQ(count_operations(spec, 0, 5).attention, 4 * ((1 + 2 + 3 + 3 + 3) + 15));
}

}  // namespace
}  // namespace nibble
