// What the cgroups of this process allow it (cgroups(7); both versions, alone or beside each
// other). A limit anywhere from a process's own group up to the root binds it.
#pragma once

#include <cstdint>
#include <filesystem>

namespace nibble {

/// Where cgroups are described. A container may see its own group as the root.
struct CgroupFiles {
  std::filesystem::path list = "/proc/self/cgroup";  // the groups that this process is in
  std::filesystem::path root = "/sys/fs/cgroup";     // where they are mounted
};

/// Cores that the CPU quotas allow, rounded up; INT_MAX without a quota.
int quota_cores(const CgroupFiles& files = {});

/// Bytes, INT64_MAX without a limit.
struct MemoryQuota {
  std::int64_t limit;  // of all groups the least; memory.high, which slows down, is one too
  // Of all groups the least that is left, at least 0. What is used is counted without the page
  // cache, which gives way: mapped weights are in it.
  std::int64_t left;
};
MemoryQuota memory_quota(const CgroupFiles& files = {});

}  // namespace nibble
