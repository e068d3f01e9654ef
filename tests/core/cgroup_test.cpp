#include "nibble/core/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <string>
#include <utility>
#include <vector>

#include "core/temporary_folder.h"
#include "nibble/core/process.h"

namespace nibble {
namespace {

using ::testing::FieldsAre;
using testing::TemporaryFolder;
using testing::write_file;

using Files = std::vector<std::pair<std::string, std::string>>;

/// Where a process is in the groups of `list`, and some files stand below their mount point.
class FakeCgroups {
 public:
  FakeCgroups(const std::string& list, const Files& files) {
    write_file(folder_ / "list", list);
    for (const auto& [name, text] : files) {
      std::filesystem::create_directories((folder_ / name).parent_path());
      write_file(folder_ / name, text);
    }
  }
  CgroupFiles files() const { return {.list = folder_ / "list", .root = folder_.path()}; }

 private:
  TemporaryFolder folder_;
};

int quota_of(const std::string& list, const Files& files) {
  return quota_cores(FakeCgroups(list, files).files());
}

TEST(QuotaCores, IsTheLeastOfTheCgroupAndThoseAroundIt) {
  const std::string list = "0::/a/b\n";
  EXPECT_EQ(quota_of(list, {}), INT_MAX);
  EXPECT_EQ(quota_of(list, {{"cpu.max", "max 100000\n"}}), INT_MAX);
  EXPECT_EQ(quota_of(list, {{"a/b/cpu.max", "150000 100000\n"}}), 2) << "rounded up";
  EXPECT_EQ(quota_of(list, {{"a/b/cpu.max", "400000 100000"}, {"a/cpu.max", "300000 100000"}}), 3);
  EXPECT_EQ(quota_of(list, {{"cpu.max", "50000 100000\n"}}), 1)
      << "a container sees it as the root";
  for (const char* wrong : {"", "x", "100000", "-1 100000", "100000 0"}) {
    EXPECT_EQ(quota_of(list, {{"cpu.max", wrong}}), INT_MAX) << wrong;
  }
}

TEST(QuotaCores, OfTheFirstVersionOfCgroups) {
  const std::string list = "no line\n4:memory:/m\n2:cpu,cpuacct:/a\n0::/\n";
  EXPECT_EQ(
      quota_of(list, {{"cpu/a/cpu.cfs_quota_us", "-1\n"}, {"cpu/a/cpu.cfs_period_us", "100000\n"}}),
      INT_MAX);
  EXPECT_EQ(quota_of(list, {{"cpu/a/cpu.cfs_quota_us", "200000\n"},
                            {"cpu/a/cpu.cfs_period_us", "100000\n"}}),
            2);
}

MemoryQuota memory_of(const std::string& list, const Files& files) {
  return memory_quota(FakeCgroups(list, files).files());
}

TEST(MemoryQuota, IsTheLeastOfTheCgroupAndThoseAroundIt) {
  const std::string list = "0::/a/b\n";
  EXPECT_THAT(memory_of(list, {}), FieldsAre(INT64_MAX, INT64_MAX));
  EXPECT_THAT(memory_of(list, {{"a/b/memory.max", "max\n"}}), FieldsAre(INT64_MAX, INT64_MAX));
  EXPECT_THAT(memory_of(list, {{"a/b/memory.max", "1000\n"}}), FieldsAre(1000, 1000));
  EXPECT_THAT(memory_of(list, {{"a/b/memory.max", "1000\n"}, {"a/memory.max", "900\n"}}),
              FieldsAre(900, 900));
  EXPECT_THAT(memory_of(list, {{"memory.max", "800\n"}}), FieldsAre(800, 800))
      << "a container sees it as the root";
  EXPECT_THAT(memory_of(list, {{"a/memory.max", "1000\n"}, {"a/memory.high", "700\n"}}),
              FieldsAre(700, 700));
  EXPECT_THAT(memory_of("0::/\n", {{"memory.max", "0\n"}}), FieldsAre(0, 0));
  for (const char* wrong : {"", "x", "-1", "12x", "99999999999999999999"}) {
    EXPECT_THAT(memory_of(list, {{"a/memory.max", wrong}}), FieldsAre(INT64_MAX, INT64_MAX))
        << wrong;
  }
}

TEST(MemoryQuota, CountsWhatIsUsedWithoutThePageCache) {
  const std::string list = "0::/a/b\n";
  const std::string stat =
      "anon 100\nfile 350\nfile_mapped 7\nactive_file 200\ninactive_file 100\n";
  Files files = {{"a/b/memory.max", "1000\n"}, {"a/b/memory.current", "600\n"}};
  EXPECT_THAT(memory_of(list, files), FieldsAre(1000, 400));
  files.push_back({"a/b/memory.stat", stat});
  EXPECT_THAT(memory_of(list, files), FieldsAre(1000, 700));
  // The group around it has the higher limit, but others in it have taken most of that.
  files.push_back({"a/memory.max", "2000\n"});
  files.push_back({"a/memory.current", "1900\n"});
  EXPECT_THAT(memory_of(list, files), FieldsAre(1000, 100));
  files[1].second = "5000\n";
  EXPECT_THAT(memory_of(list, files), FieldsAre(1000, 0));
  files[1].second = "200\n";  // less than its page cache: read a moment earlier
  EXPECT_THAT(memory_of(list, files), FieldsAre(1000, 100));
}

TEST(MemoryQuota, OfTheFirstVersionOfCgroups) {
  const std::string list = "9:name=systemd:/\n4:memory:/a/b\n1:cpu:/\n0::/\n";
  EXPECT_THAT(memory_of(list, {{"memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"}}),
              FieldsAre(9223372036854771712, 9223372036854771712));
  EXPECT_THAT(memory_of(list, {{"memory/a/memory.limit_in_bytes", "1000\n"},
                               {"memory/a/memory.usage_in_bytes", "800\n"},
                               {"memory/a/memory.stat",
                                "active_file 1\ntotal_inactive_file 300\ntotal_active_file 20\n"}}),
              FieldsAre(1000, 520));
  EXPECT_THAT(memory_of("4:memory:/docker/1\n", {{"memory/memory.limit_in_bytes", "1000\n"}}),
              FieldsAre(1000, 1000))
      << "a container sees it as the root";
}

TEST(MemoryInfo, IsBoundedByTheMachineAndByTheCgroups) {
  const MemoryInfo machine = memory_info(FakeCgroups("", {}).files());
  EXPECT_GT(machine.total_bytes, machine.available_bytes);
  const MemoryInfo bounded = memory_info(
      FakeCgroups("0::/a\n", {{"a/memory.max", "1000000\n"}, {"a/memory.current", "300000\n"}})
          .files());
  EXPECT_THAT(bounded, FieldsAre(1'000'000, 700'000));
  const MemoryInfo unbounded = memory_info(
      FakeCgroups("0::/a\n", {{"a/memory.max", std::to_string(INT64_MAX - 1) + "\n"}}).files());
  EXPECT_EQ(unbounded.total_bytes, machine.total_bytes);
}

}  // namespace
}  // namespace nibble
