#include "nibble/core/topology.h"

#include <sched.h>

#include <cstdlib>
#include <string>
#include <thread>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::write_file;

TEST(ParseCpuList, NumbersAndRuns) {
  EXPECT_THAT(*parse_cpu_list("0"), ElementsAre(0));
  EXPECT_THAT(*parse_cpu_list("0-3,8,10-11\n"), ElementsAre(0, 1, 2, 3, 8, 10, 11));
  EXPECT_THAT(*parse_cpu_list("5,1-2,2"), ElementsAre(1, 2, 5));
}

TEST(ParseCpuList, NothingForWhatIsNoList) {
  for (const char* text : {"", "\n", ",", "1,", ",1", "a", "1-", "-1", "1--2", "3-1", "1 2", "0x1",
                           "1-2-3", "0-3:2/4", "99999999999999999999", "0-4294967295", "0-65536"}) {
    EXPECT_FALSE(parse_cpu_list(text).has_value()) << text;
  }
}

/// A folder like /sys/devices/system.
class FakeSystem {
 public:
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_file(folder_ / name, text);
  }
  void add_core(const std::string& siblings) {
    const std::vector<int> cpus = *parse_cpu_list(siblings);
    for (const int cpu : cpus) {
      write("cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", siblings + "\n");
    }
  }
  /// "cpu@node" of each core.
  std::string topology(const std::vector<int>& cpus) const {
    std::string text;
    const Topology topology = read_topology(cpus, folder_.path());
    for (const Core& core : topology.cores) {
      text += std::to_string(core.cpu) + "@" + std::to_string(core.node) + " ";
    }
    return text + "of " + std::to_string(topology.nodes);
  }

 private:
  TemporaryFolder folder_;
};

TEST(ReadTopology, OneHardwareThreadOfEachCoreNodeAfterNode) {
  FakeSystem system;
  for (const char* siblings : {"0,4", "1,5", "2,6", "3,7"}) system.add_core(siblings);
  system.write("node/online", "0-1\n");
  system.write("node/node0/cpulist", "0,2,4,6\n");
  system.write("node/node1/cpulist", "1,3,5,7\n");
  EXPECT_EQ(system.topology({0, 1, 2, 3, 4, 5, 6, 7}), "0@0 2@0 1@1 3@1 of 2");
  // Of a restricted process: the core is there by its second hardware thread.
  EXPECT_EQ(system.topology({0, 2, 4, 5}), "0@0 2@0 5@1 of 2");
  EXPECT_EQ(system.topology({7}), "7@0 of 1");
}

TEST(ReadTopology, NodesWithoutCoresDoNotCount) {
  FakeSystem system;
  system.write("node/online", "0,2-3\n");
  system.write("node/node0/cpulist", "\n");  // memory only
  system.write("node/node2/cpulist", "2-3\n");
  system.write("node/node3/cpulist", "0-1\n");
  EXPECT_EQ(system.topology({0, 1, 2, 3}), "2@0 3@0 0@1 1@1 of 2");
}

TEST(ReadTopology, WithoutFilesOrWithDamagedOnesEachCpuIsACoreOfOneNode) {
  FakeSystem system;
  EXPECT_EQ(system.topology({0, 3}), "0@0 3@0 of 1");
  system.write("node/online", "zero\n");
  EXPECT_EQ(system.topology({0, 3}), "0@0 3@0 of 1");
  system.write("node/online", "0-1\n");
  system.write("node/node0/cpulist", "0-,\n");
  EXPECT_EQ(system.topology({0, 3}), "0@0 3@0 of 1");
}

TEST(FakeNodes, SplitTheCoresInRuns) {
  const Topology five{{{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}}, 1};
  const auto nodes = [&](int count) {
    const Topology topology = with_fake_nodes(five, count);
    std::vector<int> of_cores;
    for (const Core& core : topology.cores) of_cores.push_back(core.node);
    EXPECT_EQ(of_cores.back() + 1, topology.nodes);
    return of_cores;
  };
  EXPECT_THAT(nodes(1), ElementsAre(0, 0, 0, 0, 0));
  EXPECT_THAT(nodes(2), ElementsAre(0, 0, 0, 1, 1));
  EXPECT_THAT(nodes(5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(nodes(9), ElementsAre(0, 1, 2, 3, 4)) << "as many as there are cores";
}

TEST(FakeNodes, FromTheEnvironment) {
  const Topology real = usable_topology();
  ::setenv("NIBBLE_FAKE_NODES", "2", 1);
  EXPECT_EQ(usable_topology().nodes, std::min<int>(2, static_cast<int>(real.cores.size())));
  for (const char* wrong : {"", "0", "-1", "two", "2x"}) {
    ::setenv("NIBBLE_FAKE_NODES", wrong, 1);
    EXPECT_ERROR(usable_topology(),
                 HasSubstr("NIBBLE_FAKE_NODES: expected a number of 1 and more"));
  }
  ::unsetenv("NIBBLE_FAKE_NODES");
}

TEST(UsableTopology, HeedsTheAffinityMask) {
  // In a thread of its own, whose mask dies with it.
  std::thread([] {
    const int cpu = sched_getcpu();
    ASSERT_TRUE(tie_this_thread({&cpu, 1}));
    const Topology topology = usable_topology();
    ASSERT_EQ(topology.cores.size(), 1u);
    EXPECT_EQ(topology.cores[0].cpu, cpu);
    EXPECT_EQ(usable_cores(), 1);
    EXPECT_FALSE(tie_this_thread({})) << "no hardware thread at all";
  }).join();
}

}  // namespace
}  // namespace nibble
