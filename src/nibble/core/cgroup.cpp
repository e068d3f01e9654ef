#include "nibble/core/cgroup.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/system_file.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

/// One group, as the folder of a controller.
struct Group {
  fs::path folder;
  bool is_v1;
};

/// The groups that bind this process: its own and those around it, in each hierarchy that may have
/// the controller.
std::vector<Group> groups_of(const CgroupFiles& files, const std::string& controller) {
  std::vector<Group> groups;
  std::ifstream list(files.list);
  // "number:controllers:group": version 2 has no controllers, version 1 has this one among them.
  for (std::string line; std::getline(list, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool is_v1 = controllers.find("," + controller + ",") != std::string::npos;
    if (!is_v1 && controllers != ",,") continue;
    const fs::path root = is_v1 ? files.root / controller : files.root;
    fs::path below = fs::path(line.substr(second + 1)).relative_path();
    for (; !below.empty(); below = below.parent_path()) groups.push_back({root / below, is_v1});
    groups.push_back({root, is_v1});
  }
  return groups;
}

/// Cores that "QUOTA PERIOD", microseconds both, allows; INT_MAX if it is no such thing.
int cores_of_quota(const std::string& text) {
  long long quota = 0;
  long long period = 0;
  if (std::sscanf(text.c_str(), "%lld %lld", &quota, &period) != 2) return INT_MAX;
  if (quota <= 0 || period <= 0) return INT_MAX;
  return static_cast<int>(std::min<long long>(INT_MAX, (quota - 1) / period + 1));
}

/// The bytes in a file of one number; `otherwise` where there is no such file or another text, as
/// "max" is.
std::int64_t read_bytes(const fs::path& path, std::int64_t otherwise) {
  const std::string text = first_line(path);
  std::int64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  const bool good = error == std::errc{} && end == text.data() + text.size() && bytes >= 0;
  return good ? bytes : otherwise;
}

std::int64_t memory_limit(const Group& group) {
  if (group.is_v1) return read_bytes(group.folder / "memory.limit_in_bytes", INT64_MAX);
  return std::min(read_bytes(group.folder / "memory.max", INT64_MAX),
                  read_bytes(group.folder / "memory.high", INT64_MAX));
}

/// Bytes in use by the group and those in it, without page cache.
std::int64_t memory_used(const Group& group) {
  const char* const usage = group.is_v1 ? "memory.usage_in_bytes" : "memory.current";
  const std::string total = group.is_v1 ? "total_" : "";  // version 1 counts the group alone, too
  std::int64_t used = read_bytes(group.folder / usage, 0);
  for (const char* const cache : {"active_file ", "inactive_file "}) {
    used -= find_number(group.folder / "memory.stat", total + cache).value_or(0);
  }
  return std::max<std::int64_t>(used, 0);
}

}  // namespace

int quota_cores(const CgroupFiles& files) {
  int least = INT_MAX;
  for (const auto& [folder, is_v1] : groups_of(files, "cpu")) {
    const std::string quota = is_v1 ? first_line(folder / "cpu.cfs_quota_us") + " " +
                                          first_line(folder / "cpu.cfs_period_us")
                                    : first_line(folder / "cpu.max");
    least = std::min(least, cores_of_quota(quota));
  }
  return least;
}

MemoryQuota memory_quota(const CgroupFiles& files) {
  MemoryQuota quota{.limit = INT64_MAX, .left = INT64_MAX};
  for (const Group& group : groups_of(files, "memory")) {
    const std::int64_t limit = memory_limit(group);
    if (limit == INT64_MAX) continue;
    quota.limit = std::min(quota.limit, limit);
    quota.left = std::min(quota.left, std::max<std::int64_t>(limit - memory_used(group), 0));
  }
  return quota;
}

}  // namespace nibble
