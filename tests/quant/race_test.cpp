// Racing: who is dropped, who is kept, and who wins.
#include "nibble/quant/transforms/race.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace nibble {
namespace {

using ::testing::ElementsAre;

std::vector<double> losses_about(double mean, double noise, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(mean, noise);
  std::vector<double> losses(count);
  for (double& loss : losses) loss = normal(random);
  return losses;
}

TEST(Race, TheLeastMeanLeadsAndOfEqualsTheFirst) {
  Race race(4);
  const std::vector<double> losses[] = {{3, 3}, {1, 2}, {2, 1}, {2, 2}};
  for (std::size_t i = 0; i < 4; ++i) race.add(i, losses[i]);
  EXPECT_EQ(race.leader(), 1U);
  EXPECT_EQ(race.mean(1), 1.5);
}

TEST(Race, OnlyThoseFarBehindDropOut) {
  Race race(3);
  race.add(0, losses_about(1.0, 0.1, 32, 1));
  race.add(1, losses_about(1.02, 0.1, 32, 2));  // behind by less than its noise
  race.add(2, losses_about(1.5, 0.1, 32, 3));
  race.drop_behind();
  EXPECT_THAT(race.running(), ElementsAre(0, 1));
}

// What the same pieces of data have in common says nothing of the difference.
TEST(Race, DifferencesAreOfTheSamePieces) {
  std::vector<double> losses = losses_about(1.0, 0.5, 32, 1);
  Race race(2);
  race.add(0, losses);
  for (double& loss : losses) loss += 0.01;
  race.add(1, losses);
  race.drop_behind();
  EXPECT_THAT(race.running(), ElementsAre(0));
}

TEST(Race, NothingIsSaidOfAFew) {
  Race race(2);
  race.add(0, std::vector<double>(Race::kFewest - 1, 1.0));
  race.add(1, std::vector<double>(Race::kFewest - 1, 9.0));
  race.drop_behind();
  EXPECT_THAT(race.running(), ElementsAre(0, 1));
}

TEST(Race, LossesThatAreNoNumbersLose) {
  Race race(3);
  std::vector<double> losses(Race::kFewest, 5.0);
  race.add(1, losses);
  losses.back() = std::numeric_limits<double>::quiet_NaN();
  race.add(0, losses);
  losses.back() = std::numeric_limits<double>::infinity();
  race.add(2, losses);
  EXPECT_EQ(race.leader(), 1U);
  race.drop_behind();
  EXPECT_THAT(race.running(), ElementsAre(1));
}

}  // namespace
}  // namespace nibble
