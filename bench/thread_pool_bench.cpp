// What it costs to hand a job to the pool and wait for it: every operator of a token pays this
// once.
#include "nibble/core/thread_pool.h"

#include <benchmark/benchmark.h>

#include <cstdint>

namespace {

// Argument: the number of threads. One empty item a thread.
void parallel_for_empty(benchmark::State& state) {
  nibble::ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.parallel_for(pool.size(), [](std::int64_t item, int) { benchmark::DoNotOptimize(item); });
  }
}

BENCHMARK(parallel_for_empty)->DenseRange(1, nibble::usable_cores())->UseRealTime();

}  // namespace
