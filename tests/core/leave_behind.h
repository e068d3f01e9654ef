// What a process that is killed leaves behind.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nibble/core/function_ref.h"

namespace nibble::testing {

/// Ends this process as `kill -9` does.
[[noreturn]] inline void die() {
  ::raise(SIGKILL);
  ::_exit(1);
}

/// Runs `work`, which calls die() in the end, in a process of its own.
inline void leave_behind(FunctionRef<void()> work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "it ended by itself";
}

}  // namespace nibble::testing
