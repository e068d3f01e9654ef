#include "task_flags.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace nibble::cli {

void refuse_flags_of_other_tasks(const std::vector<TaskFlag>& flags, const std::string& task) {
  for (const auto& [name, flag, tasks] : flags) {
    if (!flag.given() || std::find(tasks.begin(), tasks.end(), task) != tasks.end()) continue;
    throw UsageError(
        fmt::format("{} is of --task {}, not of {}", name, fmt::join(tasks, " and "), task));
  }
}

}  // namespace nibble::cli
