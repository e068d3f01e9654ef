#include "nibble/core/topology.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "nibble/core/cgroup.h"
#include "nibble/core/error.h"
#include "nibble/core/system_file.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxCpus = 1 << 16;  // more than any kernel is built for

std::optional<int> parse_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// Hardware threads in this thread's affinity mask; none if the system does not tell.
std::vector<int> affinity() {
  std::vector<cpu_set_t> mask(kMaxCpus / CPU_SETSIZE);
  const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
  std::vector<int> cpus;
  if (sched_getaffinity(0, bytes, mask.data()) != 0) return cpus;
  for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
    if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, mask.data())) cpus.push_back(cpu);
  }
  return cpus;
}

/// For each hardware thread the kernel's number of its node; 0 if it does not say.
std::vector<int> read_nodes(std::span<const int> cpus, const fs::path& system) {
  std::vector<int> nodes(cpus.size(), 0);
  for (const int node :
       parse_cpu_list(first_line(system / "node/online")).value_or(std::vector<int>{})) {
    const fs::path list = system / "node" / ("node" + std::to_string(node)) / "cpulist";
    for (const int cpu : parse_cpu_list(first_line(list)).value_or(std::vector<int>{})) {
      const auto found = std::find(cpus.begin(), cpus.end(), cpu);
      if (found != cpus.end()) nodes[static_cast<std::size_t>(found - cpus.begin())] = node;
    }
  }
  return nodes;
}

/// Sorts cores by node and numbers the nodes anew, without gaps.
Topology by_node(std::vector<Core> cores) {
  std::stable_sort(cores.begin(), cores.end(),
                   [](const Core& a, const Core& b) { return a.node < b.node; });
  Topology topology;
  int last = -1;
  for (Core& core : cores) {
    if (core.node != std::exchange(last, core.node)) ++topology.nodes;
    topology.cores.push_back({core.cpu, topology.nodes - 1});
  }
  return topology;
}

}  // namespace

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::set<int> numbers;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view run = text.substr(begin, end - begin);
    const std::size_t dash = std::min(run.find('-'), run.size());
    const auto first = parse_number(run.substr(0, dash));
    const auto last = dash == run.size() ? first : parse_number(run.substr(dash + 1));
    if (!first || !last || *last < *first || *last >= kMaxCpus) return std::nullopt;
    for (int number = *first; number <= *last; ++number) numbers.insert(number);
    begin = end + 1;
  }
  return std::vector<int>(numbers.begin(), numbers.end());
}

Topology read_topology(std::span<const int> cpus, const fs::path& system) {
  const std::vector<int> nodes = read_nodes(cpus, system);
  std::set<std::string> seen;  // hardware threads of one core share one list of siblings
  std::vector<Core> cores;
  for (std::size_t i = 0; i < cpus.size(); ++i) {
    const std::string name = std::to_string(cpus[i]);
    const std::string siblings =
        first_line(system / "cpu" / ("cpu" + name) / "topology/thread_siblings_list");
    if (seen.insert(siblings.empty() ? name : siblings).second) {
      cores.push_back({cpus[i], nodes[i]});
    }
  }
  return by_node(std::move(cores));
}

Topology with_fake_nodes(Topology topology, int nodes) {
  const auto count = static_cast<long long>(topology.cores.size());
  topology.nodes = static_cast<int>(std::min<long long>(nodes, count));
  for (long long i = 0; i < count; ++i) {
    topology.cores[static_cast<std::size_t>(i)].node = static_cast<int>(i * topology.nodes / count);
  }
  return topology;
}

Topology usable_topology() {
  std::vector<int> cpus = affinity();
  if (cpus.empty()) {  // the system does not tell: as many as it says there are
    cpus.resize(std::max(1u, std::thread::hardware_concurrency()));
    for (std::size_t i = 0; i < cpus.size(); ++i) cpus[i] = static_cast<int>(i);
  }
  Topology topology = read_topology(cpus);
  const char* fake = std::getenv("NIBBLE_FAKE_NODES");
  if (fake == nullptr) return topology;
  const auto nodes = parse_number(fake);
  if (!nodes || *nodes < 1) {
    fail("NIBBLE_FAKE_NODES: expected a number of 1 and more, found '{}'", fake);
  }
  return with_fake_nodes(std::move(topology), *nodes);
}

int usable_cores() {
  return std::min(static_cast<int>(usable_topology().cores.size()), quota_cores());
}

bool tie_this_thread(std::span<const int> cpus) {
  std::vector<cpu_set_t> mask(kMaxCpus / CPU_SETSIZE);
  const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), bytes, mask.data());
  return sched_setaffinity(0, bytes, mask.data()) == 0;
}

}  // namespace nibble
