#include "nibble/bench/statistics.h"

#include <gmock/gmock.h>

namespace nibble {
namespace {

using ::testing::ElementsAre;

TEST(Statistics, MedianOfOddAndEvenCounts) {
  EXPECT_EQ(median_of({3, 1, 2}), 2);
  EXPECT_EQ(median_of({4, 1, 2, 9}), 3);
  EXPECT_EQ(median_of({7}), 7);
  const Spread spread = spread_of({5, 2, 8});
  EXPECT_EQ(spread.min, 2);
  EXPECT_EQ(spread.median, 5);
  EXPECT_EQ(spread.max, 8);
}

TEST(Modes, GapsAboveAQuarterSeparate) {
  const std::vector<double> values = {66, 40, 42, 41, 70, 39};
  EXPECT_THAT(find_modes(values), ElementsAre(ElementsAre(5, 1, 3, 2), ElementsAre(0, 4)));
}

TEST(Modes, AQuarterExactlyDoesNot) {
  EXPECT_THAT(find_modes(std::vector<double>{100, 125}), ElementsAre(ElementsAre(0, 1)));
  EXPECT_THAT(find_modes(std::vector<double>{100, 125.1}),
              ElementsAre(ElementsAre(0), ElementsAre(1)));
}

TEST(Modes, ThreeModesAndNone) {
  EXPECT_EQ(find_modes(std::vector<double>{10, 30, 90}).size(), 3u);
  EXPECT_TRUE(find_modes({}).empty());
}

// Neighbours decide, not the whole width: values that creep up are one mode.
TEST(Modes, ChainsOfNeighboursStayTogether) {
  EXPECT_EQ(find_modes(std::vector<double>{10, 12, 14, 17, 21}).size(), 1u);
}

}  // namespace
}  // namespace nibble
