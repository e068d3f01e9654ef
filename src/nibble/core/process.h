// What the kernel says of this process and its memory.
#pragma once

#include <cstdint>

namespace nibble {

struct MemoryInfo {
  std::int64_t total_bytes = 0;      // of the machine, or of the cgroup's limit if that is less
  std::int64_t available_bytes = 0;  // to be had without swapping, likewise
};
MemoryInfo memory_info();

/// The largest resident set so far, VmHWM of /proc/self/status, mapped weights included.
std::int64_t peak_rss_bytes();

/// Milliseconds since this process was started; the kernel notes that to 10 ms.
double milliseconds_since_process_start();

}  // namespace nibble
