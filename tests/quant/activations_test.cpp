// Activations in memory and in files.
#include "nibble/quant/calibration/activations.h"

#include <gtest/gtest.h>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/kernels/select.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;

TEST(Activations, AreTheSameFromMemoryAndFromAFile) {
  const testing::TemporaryFolder folder;
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  for (const bool is_exact : {false, true}) {
    ActivationSpace memory;
    ActivationSpace none(folder.path(), 0);
    const ActivationShape shape{.samples = 3, .tokens = 5, .width = 7, .is_exact = is_exact};
    Activations kept(shape, memory);
    Activations spilled(shape, none);
    std::vector<float> values(35);
    for (const std::int64_t width : {7, 4}) {
      for (Activations* all : {&kept, &spilled}) {
        all->set_width(width);
        for (std::int64_t sample = 0; sample < 3; ++sample) {
          for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = static_cast<float>(i) / 3 + static_cast<float>(100 * sample);
          }
          all->store(compute, sample, values.data());
        }
      }
      for (const std::int64_t sample : {2, 0, 1}) {
        std::vector<float> a(static_cast<std::size_t>(5 * width));
        std::vector<float> b(a.size());
        kept.load(compute, sample, a.data());
        spilled.load(compute, sample, b.data());
        EXPECT_EQ(a, b);
        EXPECT_NEAR(a[4], 4.0F / 3 + static_cast<float>(100 * sample), is_exact ? 1e-5 : 1);
      }
    }
  }
}

TEST(ActivationSpace, GivesFilesOnceMemoryIsTaken) {
  const testing::TemporaryFolder folder;
  ActivationSpace space(folder.path(), 1000);
  EXPECT_FALSE(space.take(600));
  EXPECT_TRUE(space.take(500));
  EXPECT_FALSE(space.take(400));
  EXPECT_TRUE(space.take(1));
  EXPECT_ERROR(space.take(std::int64_t{1} << 60), HasSubstr("no room for a temporary file"));
  EXPECT_FALSE(ActivationSpace().take(std::int64_t{1} << 60));
}

}  // namespace
}  // namespace nibble
