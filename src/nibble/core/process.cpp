#include "nibble/core/process.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "nibble/core/error.h"
#include "nibble/core/system_file.h"

namespace nibble {
namespace {

/// A line "Key:   1234 kB" of a file of /proc, in bytes.
std::int64_t read_kilobytes(const char* path, std::string_view key) {
  const auto kilobytes = find_number(path, key);
  if (!kilobytes) fail("{}: no line \"{}\"", path, key);
  return *kilobytes * 1024;
}

}  // namespace

MemoryInfo memory_info(const CgroupFiles& cgroups) {
  const MemoryQuota quota = memory_quota(cgroups);
  return {
      .total_bytes = std::min(quota.limit, read_kilobytes("/proc/meminfo", "MemTotal:")),
      .available_bytes = std::min(quota.left, read_kilobytes("/proc/meminfo", "MemAvailable:"))};
}

std::int64_t peak_rss_bytes() {
  return read_kilobytes("/proc/self/status", "VmHWM:");
}

double milliseconds_since_process_start() {
  // proc(5): field 22 is the start time in clock ticks since boot. Field 2, the program's name, is
  // in parentheses and may hold blanks, so counting begins behind the last of them.
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');
  std::istringstream fields(name_end == std::string::npos ? "" : line.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  if (!(fields >> ticks)) fail("/proc/self/stat: no start time in field 22");
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const double now_ms =
      static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
  return now_ms - 1e3 * ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace nibble
