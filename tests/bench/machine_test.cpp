#include "nibble/bench/machine.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/resource.h>

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "bench/keep_affinity.h"
#include "nibble/core/process.h"
#include "nibble/kernels/select.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(MatmulPeak, Bf16KernelsAreMeasuredByTheirOwnInstruction) {
  const auto peak = [](const KernelSet& set, ActivationType activations, WeightFormat format) {
    return std::string(matmul_peak(set, activations, format).name);
  };
  EXPECT_THAT(peak(kAvx512Kernels, ActivationType::kBF16, WeightFormat::kW4),
              HasSubstr("VDPBF16PS"));
  EXPECT_THAT(peak(kAvx512Kernels, ActivationType::kBF16, WeightFormat::kBF16),
              HasSubstr("VDPBF16PS"));
  EXPECT_THAT(peak(kAvx512Kernels, ActivationType::kInt8, WeightFormat::kW4),
              HasSubstr("VPDPBUSD"));
  EXPECT_THAT(peak(kAvx512Kernels, ActivationType::kInt8, WeightFormat::kW8),
              HasSubstr("VPDPBUSD"));
  EXPECT_THAT(peak(kAvx2Kernels, ActivationType::kInt8, WeightFormat::kW3), StartsWith("int8 "));
  // Weights that are not integers, and no instruction for those that are.
  EXPECT_THAT(peak(kAvx512Kernels, ActivationType::kInt8, WeightFormat::kBF16),
              HasSubstr("VDPBF16PS"));
  EXPECT_THAT(peak(kScalarKernels, ActivationType::kInt8, WeightFormat::kW4), StartsWith("f32 "));
  // No bfloat16 kernel for F16 weights, no bfloat16 activations, no bfloat16 instruction.
  EXPECT_THAT(peak(kAvx512Kernels, ActivationType::kBF16, WeightFormat::kF16), StartsWith("f32 "));
  EXPECT_THAT(peak(kAvx512Kernels, ActivationType::kF32, WeightFormat::kW4), StartsWith("f32 "));
  EXPECT_THAT(peak(kAvx2Kernels, ActivationType::kBF16, WeightFormat::kW3), StartsWith("f32 "));
  EXPECT_THAT(peak(kScalarKernels, ActivationType::kBF16, WeightFormat::kW4), StartsWith("f32 "));
}

TEST(PinThreads, GivesEachThreadACpuOfItsOwn) {
  const testing::KeepAffinity keep;
  ThreadPool pool;
  ASSERT_TRUE(pin_threads(pool));
  std::mutex mutex;
  std::map<int, int> cpu_of;  // thread -> the only CPU of its mask
  pool.parallel_for(pool.size() * 64, [&](std::int64_t, int thread) {
    cpu_set_t mask;
    ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
    ASSERT_EQ(CPU_COUNT(&mask), 1);
    const std::lock_guard lock(mutex);
    cpu_of[thread] = sched_getcpu();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  });
  std::set<int> cpus;
  for (const auto& [thread, cpu] : cpu_of) cpus.insert(cpu);
  EXPECT_EQ(cpus.size(), cpu_of.size());
}

TEST(PinThreads, LeavesMoreThreadsThanCoresAlone) {
  const testing::KeepAffinity keep;
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  ThreadPool pool(CPU_COUNT(&before) + 1);
  EXPECT_FALSE(pin_threads(pool));
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(Measure, BandwidthAndPeaksArePlausible) {
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  MemoryReader reader(compute);
  EXPECT_LE(reader.buffer_bytes(), std::size_t{1} << 30);
  EXPECT_GE(reader.buffer_bytes(), std::size_t{64} << 20);
  // A bus of a machine of today reads more than 100 MB/s and less than 100 TB/s: units are right.
  const double bandwidth = reader.measure();
  EXPECT_GT(bandwidth, 1e8);
  EXPECT_LT(bandwidth, 1e14);
  for (int i = 0; i < compute.kernels().peak_count; ++i) {
    const double peak = measure_peak(compute, compute.kernels().peaks[i]);
    EXPECT_GT(peak, 1e8) << compute.kernels().peaks[i].name;
    EXPECT_LT(peak, 1e15) << compute.kernels().peaks[i].name;
  }
}

TEST(Process, KnowsItsMemoryAndAge) {
  const MemoryInfo memory = memory_info();
  EXPECT_GT(memory.available_bytes, 0);
  EXPECT_LE(memory.available_bytes, memory.total_bytes);

  const std::vector<char> block(std::size_t{64} << 20, 'x');
  rusage usage{};
  ASSERT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  EXPECT_GE(peak_rss_bytes(), static_cast<std::int64_t>(block.size()));
  EXPECT_NEAR(static_cast<double>(peak_rss_bytes()), static_cast<double>(usage.ru_maxrss) * 1024,
              1 << 20);

  const double age = milliseconds_since_process_start();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double later = milliseconds_since_process_start();
  EXPECT_GE(age, 0);
  EXPECT_LT(age, 3.6e6);
  EXPECT_GE(later - age, 50);
}

}  // namespace
}  // namespace nibble
