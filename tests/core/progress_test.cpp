#include "nibble/core/progress.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(HumanBytes, PicksTheUnit) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(12), "12 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(340.0 * 1024 * 1024), "340.0 MiB");
  EXPECT_EQ(human_bytes(1.25 * 1024 * 1024 * 1024), "1.2 GiB");
  EXPECT_EQ(human_bytes(5e18), "4547473.5 TiB");
}

TEST(HumanCount, PicksThePrefix) {
  EXPECT_EQ(human_count(0), "0.0 ");
  EXPECT_EQ(human_count(999), "999.0 ");
  EXPECT_EQ(human_count(1500), "1.5 k");
  EXPECT_EQ(human_count(1.25e9), "1.2 G");
  EXPECT_EQ(human_count(5e18), "5000000.0 T");
}

TEST(Progress, WritesNothingWhereThereIsNoTerminal) {
  ::testing::internal::CaptureStderr();
  {
    Progress progress("working", 0, "B");
    progress.set_note("note");
    for (int i = 0; i < 1000; ++i) progress.advance(1);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace nibble
