#include "nibble/bench/machine.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/log.h"
#include "nibble/core/process.h"
#include "nibble/core/stopwatch.h"
#include "nibble/ops/prepared_input.h"

namespace nibble {
namespace {

// Far above the part of a last-level cache that a process gets to keep on a small machine.
constexpr std::size_t kMinBuffer = std::size_t{64} << 20;
// What a thread claims at a time: tens of microseconds, so that none waits long for the last.
constexpr std::size_t kReadChunk = std::size_t{1} << 20;

std::size_t reading_buffer_bytes(std::size_t wanted) {
  const auto quarter = static_cast<std::size_t>(memory_info().available_bytes) / 4;
  return std::clamp(quarter, kMinBuffer, wanted) / kHugePageBytes * kHugePageBytes;
}

}  // namespace

bool pin_threads(ThreadPool& pool) {
  if (!pool.has_core_each()) {
    warn("more threads than cores: not pinned, so that figures will scatter");
    return false;
  }
  pool.for_each_thread([&](int thread) { tie_this_thread({&pool.core_of(thread).cpu, 1}); });
  return true;
}

MemoryReader::MemoryReader(Compute& compute, std::size_t bytes)
    : compute_(compute),
      bytes_(std::clamp(bytes, kMinBuffer, kMostBytes)),
      buffer_(reading_buffer_bytes(bytes_)) {
  const auto chunks = static_cast<std::int64_t>(buffer_.size() / kReadChunk);
  // Written, or all pages would be the one page of zeros and lie in the cache; each by the thread
  // that reads it, so that it lies on that one's node.
  compute_.pool().for_each_thread([&](int thread) {
    const auto [begin, end] = compute_.pool().share(chunks, thread);
    for (std::int64_t chunk = begin; chunk < end; ++chunk) {
      check_interrupt();
      std::memset(buffer_.data() + static_cast<std::size_t>(chunk) * kReadChunk, 1, kReadChunk);
    }
  });
  read_all();
}

void MemoryReader::read_all() {
  const auto chunks = static_cast<std::int64_t>(buffer_.size() / kReadChunk);
  const auto read_memory = compute_.kernels().read_memory;
  compute_.pool().parallel_for(chunks, [&](std::int64_t chunk, int) {
    read_memory(buffer_.data() + static_cast<std::size_t>(chunk) * kReadChunk, kReadChunk);
  });
}

double MemoryReader::measure() {
  const std::size_t passes = (bytes_ + buffer_.size() - 1) / buffer_.size();
  const Stopwatch stopwatch;
  for (std::size_t pass = 0; pass < passes; ++pass) read_all();
  return static_cast<double>(passes * buffer_.size()) / stopwatch.seconds();
}

double measure_peak(Compute& compute, const PeakKernel& peak) {
  constexpr double kItemSeconds = 1e-3;
  constexpr std::int64_t kItemsPerThread = 30;
  constexpr int kRuns = 5;
  // How many iterations an item takes: doubled until one is long enough.
  std::int64_t iterations = 1000;
  for (;; iterations *= 2) {
    const Stopwatch stopwatch;
    peak.run(iterations);
    if (stopwatch.seconds() >= kItemSeconds) break;
  }
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::atomic<double> operations{0};
    const Stopwatch stopwatch;
    compute.pool().parallel_for(compute.pool().size() * kItemsPerThread, [&](std::int64_t, int) {
      operations.fetch_add(peak.run(iterations), std::memory_order_relaxed);
    });
    best = std::max(best, operations / stopwatch.seconds());
  }
  return best;
}

const PeakKernel& matmul_peak(const KernelSet& kernels, ActivationType activations,
                              WeightFormat format) {
  const auto find = [&](ProductType type) -> const PeakKernel* {
    for (int i = 0; i < kernels.peak_count; ++i) {
      if (kernels.peaks[i].type == type) return &kernels.peaks[i];
    }
    return nullptr;
  };
  const PeakKernel* peak = find(product_type(kernels, activations, format));
  if (peak == nullptr)
    peak = find(ProductType::kF32);  // the set has no such instruction: it widens
  if (peak == nullptr) fail("the kernel set {} measures no peak of float32", kernels.name);
  return *peak;
}

}  // namespace nibble
