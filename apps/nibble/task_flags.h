// Flags of commands with several tasks, not all of which have each flag.
#pragma once

#include <string>
#include <vector>

#include "flags.h"

namespace nibble::cli {

struct TaskFlag {
  const char* name;
  Flag flag;
  std::vector<std::string> tasks;
};

/// Throws UsageError for a flag that is given and not one of `task`'s.
void refuse_flags_of_other_tasks(const std::vector<TaskFlag>& flags, const std::string& task);

}  // namespace nibble::cli
