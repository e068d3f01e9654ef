// What the kernel says of this process and its memory.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/core/cgroup.h"

namespace nibble {

struct MemoryInfo {
  std::int64_t total_bytes = 0;      // of the machine, or the cgroups' limit if that is less
  std::int64_t available_bytes = 0;  // to be had without swapping, or what the cgroups leave
};
MemoryInfo memory_info(const CgroupFiles& cgroups = {});

/// The largest resident set so far, VmHWM of /proc/self/status, mapped weights included.
std::int64_t peak_rss_bytes();

/// A stretch of this process's addresses.
struct MemoryMapping {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::int64_t resident_bytes = 0;
  std::int64_t huge_bytes = 0;  // of those: in huge pages, of 2 MiB
};
/// All of them, by address (/proc/self/smaps). The kernel takes up to 20 ms a GiB resident.
std::vector<MemoryMapping> memory_mappings();

/// Milliseconds since this process was started; the kernel notes that to 10 ms.
double milliseconds_since_process_start();

}  // namespace nibble
