#include "nibble/core/process.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "nibble/core/error.h"
#include "nibble/core/system_file.h"

namespace nibble {
namespace {

/// What a line "Key:   1234 kB" of a file of /proc says of this key, in bytes.
std::optional<std::int64_t> bytes_in(const std::string& line, std::string_view key) {
  if (!line.starts_with(key)) return std::nullopt;
  std::istringstream rest(line.substr(key.size()));
  std::int64_t kilobytes = 0;
  if (!(rest >> kilobytes)) return std::nullopt;
  return kilobytes * 1024;
}

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

std::vector<MemoryMapping> memory_mappings() {
  std::vector<MemoryMapping> all;
  std::ifstream file("/proc/self/smaps");
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && std::isupper(static_cast<unsigned char>(line[0])) == 0) {
      // "7f0000000000-7f0000200000 r--s ..."; lines "Key:   1234 kB" follow.
      std::istringstream fields(line);
      char dash = 0;
      MemoryMapping& mapping = all.emplace_back();
      fields >> std::hex >> mapping.begin >> dash >> mapping.end;
    } else if (const auto resident = bytes_in(line, "Rss:")) {
      all.back().resident_bytes = *resident;
    } else {
      for (const char* key : {"AnonHugePages:", "FilePmdMapped:", "ShmemPmdMapped:"}) {
        all.back().huge_bytes += bytes_in(line, key).value_or(0);
      }
    }
  }
  return all;
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
