// Which cores this process may use and which memory node each belongs to: on a machine with several
// nodes a core reads the memory of its own faster than another's.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace nibble {

/// A physical core, as one of its hardware threads.
struct Core {
  int cpu;   // number of the hardware thread
  int node;  // 0..nodes-1, counting those with usable cores only
};

struct Topology {
  std::vector<Core> cores;  // node after node
  int nodes = 0;
};

/// The numbers of a list like "0-3,8,10-11", ascending; nothing if it is none or empty.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

/// The physical cores behind these hardware threads. `system` is where the kernel describes the
/// machine; what it does not say there makes each hardware thread a core, all on one node.
Topology read_topology(std::span<const int> cpus,
                       const std::filesystem::path& system = "/sys/devices/system");

/// The same cores as if they were on `nodes` nodes, in runs of equal length; on as many nodes as
/// there are cores if `nodes` is more.
Topology with_fake_nodes(Topology topology, int nodes);

/// The cores in this thread's affinity mask. NIBBLE_FAKE_NODES=N, for tests, makes it N nodes;
/// throws Error if that is not a number of 1 and more.
Topology usable_topology();

/// Physical cores that this process may use: its affinity mask and its cgroups' CPU quota heeded.
int usable_cores();

/// Lets the calling thread run on these hardware threads only. Gives false, and changes nothing,
/// where the system does not allow it.
bool tie_this_thread(std::span<const int> cpus);

}  // namespace nibble
