// What the kernel says of this process and its memory.
#pragma once

#include <cstdint>

#include "nibble/core/cgroup.h"

namespace nibble {

struct MemoryInfo {
  std::int64_t total_bytes = 0;      // of the machine, or the cgroups' limit if that is less
  std::int64_t available_bytes = 0;  // to be had without swapping, or what the cgroups leave
};
MemoryInfo memory_info(const CgroupFiles& cgroups = {});

/// The largest resident set so far, VmHWM of /proc/self/status, mapped weights included.
std::int64_t peak_rss_bytes();

/// Milliseconds since this process was started; the kernel notes that to 10 ms.
double milliseconds_since_process_start();

}  // namespace nibble
