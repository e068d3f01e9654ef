#include "nibble/core/progress.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <thread>

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
  EXPECT_EQ(human_count(0), "0.0");
  EXPECT_EQ(human_count(999), "999.0");
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

/// What `work` writes to standard error where that is a terminal.
template <typename Work>
std::string on_terminal(Work work) {
  int terminal = -1;
  int screen = -1;
  if (openpty(&terminal, &screen, nullptr, nullptr, nullptr) != 0) return "no terminal";
  const int before = dup(STDERR_FILENO);
  dup2(screen, STDERR_FILENO);
  work();
  dup2(before, STDERR_FILENO);
  close(before);
  close(screen);  // reading fails once everything was read
  std::string text;
  std::array<char, 4096> bytes{};
  for (ssize_t count; (count = read(terminal, bytes.data(), bytes.size())) > 0;) {
    text.append(bytes.data(), static_cast<std::size_t>(count));
  }
  close(terminal);
  return text;
}

TEST(Progress, MakesRoomForOtherText) {
  const std::string written = on_terminal([] {
    Progress progress("working", 100, "steps");
    std::this_thread::sleep_for(std::chrono::milliseconds(600));  // a bar takes its time to appear
    progress.advance(50);
    hide_progress();
    std::fputs("text\n", stderr);
  });
  EXPECT_NE(written.find("working [============            ]  50 %"), std::string::npos) << written;
  EXPECT_TRUE(written.ends_with("\r\x1b[Ktext\r\n")) << written;
}

}  // namespace
}  // namespace nibble
