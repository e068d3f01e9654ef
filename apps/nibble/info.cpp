// nibble info: what this machine is, which kernels it gets, and how fast it can be.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "command.h"
#include "nibble/bench/machine.h"
#include "nibble/bench/statistics.h"
#include "nibble/core/process.h"
#include "nibble/core/progress.h"
#include "nibble/kernels/select.h"

namespace nibble::cli {
namespace {

constexpr const char kInfoNotes[] =
    "--measure uses all threads, pinned where there is a core for each: 25 readings\n"
    "of 1 GiB over some seconds (of less memory, several times over, where there is\n"
    "little), and the most operations a second that the multiply instructions of the\n"
    "kernels reach.";

struct InfoFlags {
  bool measure = false;
};

struct Peak {
  std::string name;
  double tops;  // 10^12 operations a second
};

struct MeasuredMachine {
  std::vector<double> readings;  // GB/s
  std::vector<Peak> peaks;
};

std::vector<std::string> supported_names() {
  std::vector<std::string> names;
  for (const KernelSet* set : supported_kernels()) names.emplace_back(set->name);
  return names;
}

/// Readings are spread over some seconds: on shared machines the bandwidth changes between levels.
std::vector<double> measure_readings(Compute& compute) {
  constexpr int kReadings = 25;
  constexpr std::chrono::milliseconds kPause{100};
  MemoryReader reader(compute);
  Progress progress("measuring", kReadings, "readings");
  std::vector<double> readings;
  for (int i = 0; i < kReadings; ++i) {
    readings.push_back(reader.measure() / 1e9);
    progress.advance(1);
    std::this_thread::sleep_for(kPause);
  }
  return readings;
}

MeasuredMachine measure(Compute& compute) {
  pin_threads(compute.pool());
  MeasuredMachine measured{.readings = measure_readings(compute), .peaks = {}};
  for (int i = 0; i < compute.kernels().peak_count; ++i) {
    const PeakKernel& peak = compute.kernels().peaks[i];
    measured.peaks.push_back({peak.name, measure_peak(compute, peak) / 1e12});
  }
  return measured;
}

/// The median reading of each level that the bandwidth was seen at, and how often.
struct Mode {
  double gbps;
  std::size_t n;
};
std::vector<Mode> modes_of(const std::vector<double>& readings) {
  std::vector<Mode> modes;
  for (const std::vector<std::size_t>& members : find_modes(readings)) {
    std::vector<double> gbps;
    for (const std::size_t place : members) gbps.push_back(readings[place]);
    modes.push_back({median_of(gbps), members.size()});
  }
  return modes;
}

Json measured_json(const MeasuredMachine& measured) {
  const Spread spread = spread_of(measured.readings);
  Json modes = Json::array();
  for (const Mode& mode : modes_of(measured.readings)) {
    modes.push_back({{"gbps", mode.gbps}, {"n", mode.n}});
  }
  Json peaks = Json::array();
  for (const Peak& peak : measured.peaks) {
    peaks.push_back({{"name", peak.name}, {"tops", peak.tops}});
  }
  return {{"read_gbps", {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}}},
          {"read_modes", std::move(modes)},
          {"peaks", std::move(peaks)}};
}

void print_measured(const MeasuredMachine& measured) {
  const Spread spread = spread_of(measured.readings);
  fmt::print("read bandwidth   {:.1f} GB/s median, {:.1f} to {:.1f}, of {} readings of 1 GiB\n",
             spread.median, spread.min, spread.max, measured.readings.size());
  const std::vector<Mode> modes = modes_of(measured.readings);
  for (const Mode& mode : modes) {
    if (modes.size() > 1) fmt::print("                 {:.1f} GB/s {} times\n", mode.gbps, mode.n);
  }
  const char* label = "peak arithmetic";
  for (const Peak& peak : measured.peaks) {
    fmt::print("{:<16} {:.3f} TOPS {}\n", label, peak.tops, peak.name);
    label = "";
  }
}

void info(const InfoFlags& flags, const CommonFlags& common) {
  const CpuInfo cpu = cpu_info();
  const MemoryInfo memory = memory_info();
  const int cores = usable_cores();
  ThreadPool pool(common.threads);
  Compute compute(select_kernels(), pool);
  const std::string chosen = compute.kernels().name;
  if (common.json) {
    Json json = {
        {"cpu", {{"model", cpu.model}, {"features", cpu.features}}},
        {"kernels", {{"supported", supported_names()}, {"chosen", chosen}}},
        {"cores", cores},
        {"threads", compute.pool().size()},
        {"memory",
         {{"total_bytes", memory.total_bytes}, {"available_bytes", memory.available_bytes}}}};
    if (flags.measure) json["measured"] = measured_json(measure(compute));
    print_json(json);
    return;
  }
  fmt::print("CPU              {}\n", cpu.model);
  fmt::print("instruction sets {}\n", cpu.features);
  fmt::print("kernels          {} (this machine runs {}; NIBBLE_ISA chooses)\n", chosen,
             fmt::join(supported_names(), ", "));
  const int nodes = compute.pool().nodes();
  fmt::print("threads          {} (this process may use {} physical {}{})\n", compute.pool().size(),
             cores, cores == 1 ? "core" : "cores",
             nodes > 1 ? fmt::format(" on {} memory nodes", nodes) : "");
  fmt::print("memory           {}, {} available\n",
             human_bytes(static_cast<double>(memory.total_bytes)),
             human_bytes(static_cast<double>(memory.available_bytes)));
  if (flags.measure) print_measured(measure(compute));
}

}  // namespace

void add_info(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("info", "Show this machine and the kernels it gets");
  auto flags = std::make_shared<InfoFlags>();
  command.add_switch("--measure", flags->measure,
                     "Measure the read bandwidth and the arithmetic peaks too");
  add_common_flags(command, common);
  command.set_example("nibble info --measure", kInfoNotes);
  command.set_action([flags, &common] { info(*flags, common); });
}

}  // namespace nibble::cli
