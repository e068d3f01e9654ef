#include "nibble/runtime/model.h"

#include <gmock/gmock.h>

#include "bench/tiny_model.h"
#include "core/error_matchers.h"
#include "models/architecture_configs.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Model, LearnedPositionsEndTheContext) {
  const testing::TemporaryFolder folder;
  ThreadPool pool(1);
  Model model(testing::make_tiny_model(folder, {.bits = 16}, testing::opt_config()), pool);
  EXPECT_ERROR(model.make_cache(65), AllOf(HasSubstr("65"), HasSubstr("64")));
  KvCache cache = model.make_cache();
  EXPECT_EQ(cache.capacity(), 64);
  std::vector<float> hidden(64 * 64);
  model.forward(std::vector<std::int32_t>(64, 3), cache,
                hidden.data());  // the last row of the table
  EXPECT_ERROR(model.forward(std::vector<std::int32_t>{3}, cache, hidden.data()),
               AllOf(HasSubstr("do not fit in the context"), HasSubstr("64")));
}

}  // namespace
}  // namespace nibble
