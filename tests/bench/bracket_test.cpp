#include "nibble/bench/bracket.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

/// Gives the values one after the other, from the start again at the end, and counts the calls.
class Sequence {
 public:
  explicit Sequence(std::vector<double> values) : values_(std::move(values)) {}
  double operator()() { return values_[calls_++ % values_.size()]; }
  std::size_t calls() const { return calls_; }

 private:
  std::vector<double> values_;
  std::size_t calls_ = 0;
};

TEST(Bracket, KeepsRunsBetweenReadingsThatAgree) {
  Sequence readings({100, 109, 70, 64});
  Sequence speeds({5, 3});
  const BracketedRuns runs = run_bracketed(2, readings, speeds);
  ASSERT_EQ(runs.kept.size(), 2u);
  EXPECT_EQ(runs.dropped, 0);
  EXPECT_EQ(runs.kept[0].reading(), 104.5);
  EXPECT_EQ(runs.kept[0].speed, 5);
  EXPECT_EQ(runs.kept[1].reading(), 67);
  EXPECT_EQ(runs.kept[1].speed, 3);
}

TEST(Bracket, TenPercentIsTheBorderInBothDirections) {
  for (const auto& [before, after, kept] :
       {std::tuple{100.0, 109.9, 1u}, {100.0, 110.2, 0u}, {109.9, 100.0, 1u}, {110.2, 100.0, 0u}}) {
    Sequence readings({before, after});
    Sequence speeds({1});
    EXPECT_EQ(run_bracketed(1, readings, speeds).kept.size(), kept) << before << " " << after;
  }
}

TEST(Bracket, RepeatsUntilEnoughAreKept) {
  Sequence readings({40, 70, 40, 41, 70, 40, 41, 42});  // drop, keep, drop, keep
  Sequence speeds({1, 2, 3, 4});
  const BracketedRuns runs = run_bracketed(2, readings, speeds);
  ASSERT_EQ(runs.kept.size(), 2u);
  EXPECT_EQ(runs.kept[0].speed, 2);
  EXPECT_EQ(runs.kept[1].speed, 4);
  EXPECT_EQ(runs.dropped, 2);
  EXPECT_EQ(speeds.calls(), 4u);
  EXPECT_EQ(readings.calls(), 8u);
}

TEST(Bracket, GivesUpAfterFiveTimesTheRuns) {
  Sequence readings({40, 70});
  Sequence speeds({1});
  const BracketedRuns runs = run_bracketed(3, readings, speeds);
  EXPECT_TRUE(runs.kept.empty());
  EXPECT_EQ(runs.dropped, 15);
  EXPECT_EQ(speeds.calls(), 15u);
}

}  // namespace
}  // namespace nibble
