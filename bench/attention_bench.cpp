// Attention of one KV head against a cache of some thousand positions, chunk by chunk.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>

#include "bench_data.h"
#include "nibble/kernels/select.h"

namespace nibble::bench {
namespace {

using benchmark::Counter;

// Arguments: tokens, heads, head_dim, positions. The bytes are those of the keys and values.
void run_attention(benchmark::State& state) {
  const KernelSet& kernels = select_kernels();
  const std::int64_t tokens = state.range(0);
  const std::int64_t heads = state.range(1);
  const std::int64_t head_dim = state.range(2);
  const std::int64_t positions = state.range(3);
  Array<float> q(static_cast<std::size_t>(tokens * heads * head_dim));
  Array<BFloat16> keys(static_cast<std::size_t>(positions * head_dim));
  Array<BFloat16> values(keys.size());
  Array<float> max(static_cast<std::size_t>(tokens * heads));
  Array<float> sum(max.size());
  Array<float> acc(q.size());
  Array<std::byte> scratch(kernels.attention_scratch_bytes(head_dim));
  std::fill_n(q.data(), q.size(), 0.5F);
  std::fill_n(keys.data(), keys.size(), to_bfloat16(0.25F));
  std::fill_n(values.data(), values.size(), to_bfloat16(0.25F));
  for (auto _ : state) {
    std::fill_n(max.data(), max.size(), -INFINITY);
    std::fill_n(sum.data(), sum.size(), 0.0F);
    std::fill_n(acc.data(), acc.size(), 0.0F);
    for (std::int64_t begin = 0; begin < positions; begin += kAttentionMaxPositions) {
      const std::int64_t next = std::min(begin + kAttentionMaxPositions, positions);
      AttentionTask task{q.data(),
                         heads * head_dim,
                         tokens,
                         heads,
                         head_dim,
                         keys.data() + begin * head_dim,
                         values.data() + begin * head_dim,
                         nullptr,
                         nullptr,
                         next - begin,
                         positions - begin,
                         0.125F,
                         max.data(),
                         sum.data(),
                         acc.data(),
                         scratch.data()};
      if (next < positions) {
        task.next_keys = keys.data() + next * head_dim;
        task.next_values = values.data() + next * head_dim;
      }
      kernels.attention_bf16(task);
    }
    benchmark::ClobberMemory();
  }
  state.SetLabel(kernels.name);
  const auto elements = static_cast<double>(positions * head_dim);
  state.SetBytesProcessed(state.iterations() * positions * head_dim * 4);
  state.counters["op/s"] = Counter(4.0 * static_cast<double>(tokens * heads) * elements,
                                   Counter::kIsIterationInvariantRate, Counter::kIs1000);
}
BENCHMARK(run_attention)
    ->Name("attention/bf16")
    ->ArgNames({"tokens", "heads", "head_dim", "positions"})
    ->Args({1, 1, 128, 4096})
    ->Args({1, 4, 64, 4096})
    ->Args({1, 4, 128, 4096})
    ->Args({1, 8, 128, 4096})
    ->Args({1, 4, 128, 65536})
    ->Args({32, 4, 64, 4096})
    ->Args({32, 4, 128, 4096})
    ->Args({128, 1, 128, 4096});

}  // namespace
}  // namespace nibble::bench
