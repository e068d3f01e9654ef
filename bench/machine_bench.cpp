// What bounds the products: reading memory, and the peaks of the instructions.
#include <benchmark/benchmark.h>

#include "bench_data.h"
#include "nibble/kernels/select.h"

namespace nibble::bench {
namespace {

using benchmark::Counter;

void run_read_memory(benchmark::State& state) {
  Array<std::byte> data(std::size_t{256} << 20);
  fill_random(data.data(), data.bytes());
  for (auto _ : state) {
    benchmark::DoNotOptimize(select_kernels().read_memory(data.data(), data.bytes()));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(data.bytes()));
}
BENCHMARK(run_read_memory)->Name("read_memory")->Unit(benchmark::kMillisecond);

void run_peak(benchmark::State& state, const PeakKernel& peak) {
  double operations = 0;
  for (auto _ : state) operations += peak.run(1'000'000);
  state.counters["op/s"] = Counter(operations, Counter::kIsRate, Counter::kIs1000);
}

const bool kRegistered = [] {
  for (int i = 0; i < select_kernels().peak_count; ++i) {
    const PeakKernel& peak = select_kernels().peaks[i];
    benchmark::RegisterBenchmark((std::string("peak/") + peak.name).c_str(),
                                 [&peak](benchmark::State& state) { run_peak(state, peak); })
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace nibble::bench
