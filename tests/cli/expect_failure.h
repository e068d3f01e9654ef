// What every failure of the command looks like.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/run_command.h"

namespace nibble::testing {

/// The command ended with `status` (1 failed, 2 wrong usage), nothing on standard output and one
/// line on standard error, which opens with "nibble: " and holds each of `parts`.
inline void expect_failure(const Outcome& outcome, int status,
                           const std::vector<std::string>& parts) {
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_EQ(outcome.signal, 0);
  EXPECT_EQ(outcome.status, status) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const std::vector<std::string> err = lines(outcome.err);
  ASSERT_EQ(err.size(), 1u) << outcome.err;
  EXPECT_THAT(err[0], ::testing::StartsWith("nibble: "));
  for (const std::string& part : parts) EXPECT_THAT(err[0], ::testing::HasSubstr(part));
}

inline void expect_success(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0) << "signal " << outcome.signal << ": " << outcome.err;
}

}  // namespace nibble::testing
