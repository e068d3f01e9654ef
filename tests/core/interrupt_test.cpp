#include "nibble/core/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

namespace nibble {
namespace {

/// In a process of its own, as the flag stays set: exits with 0 if everything was as it should be.
[[noreturn]] void interrupt_by_signal() {
  check_interrupt();
  std::signal(SIGINT, [](int) { request_interrupt(); });
  std::raise(SIGINT);
  if (!interrupt_requested()) std::_Exit(1);
  try {
    check_interrupt();
  } catch (const Interrupted&) {
    std::_Exit(0);
  }
  std::_Exit(2);
}

TEST(InterruptDeathTest, AFlagSetByASignalHandlerThrows) {
  EXPECT_FALSE(interrupt_requested());
  EXPECT_NO_THROW(check_interrupt());
  EXPECT_EXIT(interrupt_by_signal(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace nibble
