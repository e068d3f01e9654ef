// Matrix products by format: a few tokens (GB/s of weights read) and many (operations a second).
// Both are to be read beside read_memory and the peaks of the same run.
#include <benchmark/benchmark.h>

#include <string>

#include "bench_data.h"
#include "nibble/kernels/select.h"

namespace nibble::bench {
namespace {

using benchmark::Counter;

struct Shape {
  WeightFormat format;
  int group_size;
  bool bf16_activations;
  std::int64_t tokens;
  std::int64_t rows;
  std::int64_t cols;

  std::string name() const {
    std::string text = std::string("matmul/") + weight_format_name(format);
    if (group_size > 0) text += "_g" + std::to_string(group_size);
    text += bf16_activations ? "/x_bf16" : "/x_f32";
    return text + "/" + std::to_string(tokens) + "x" + std::to_string(rows) + "x" +
           std::to_string(cols);
  }
};

void run_matmul(benchmark::State& state, const Shape& shape) {
  const KernelSet& kernels = select_kernels();
  const auto matmul = shape.bf16_activations ? kernels.matmul_bf16[static_cast<int>(shape.format)]
                                             : kernels.matmul_f32[static_cast<int>(shape.format)];
  const Matrix matrix(shape.format, shape.rows, shape.cols, shape.group_size);
  const std::int64_t groups = shape.group_size > 0 ? shape.cols / shape.group_size : 1;
  Array<float> x_f32(static_cast<std::size_t>(shape.tokens * shape.cols));
  Array<BFloat16> x_bf16(x_f32.size());
  Array<float> sums(static_cast<std::size_t>(shape.tokens * groups));
  Array<float> out(static_cast<std::size_t>(shape.tokens * shape.rows));
  Array<std::byte> scratch(kernels.matmul_scratch_bytes(shape.cols));
  for (std::size_t i = 0; i < x_f32.size(); ++i) {
    x_f32.data()[i] = static_cast<float>(i % 7) - 3.0F;
    x_bf16.data()[i] = to_bfloat16(x_f32.data()[i]);
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums.data()[i] = 1.0F;
  MatmulTask task{matrix.view(),
                  shape.bf16_activations ? static_cast<const void*>(x_bf16.data()) : x_f32.data(),
                  shape.cols,
                  sums.data(),
                  shape.tokens,
                  0,
                  shape.rows,
                  out.data(),
                  shape.rows,
                  scratch.data()};
  for (auto _ : state) {
    // As the operators cut it: what one thread takes at a time.
    for (std::int64_t row = 0; row < shape.rows; row += kernels.panel_rows) {
      task.row_begin = row;
      task.row_end = std::min(row + kernels.panel_rows, shape.rows);
      matmul(task);
    }
    benchmark::ClobberMemory();
  }
  state.SetLabel(kernels.name);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(matrix.bytes()));
  const double operations = 2.0 * static_cast<double>(shape.tokens * shape.rows * shape.cols);
  state.counters["op/s"] =
      Counter(operations, Counter::kIsIterationInvariantRate, Counter::kIs1000);
}

void add(const Shape& shape) {
  const KernelSet& kernels = select_kernels();
  if (shape.bf16_activations && kernels.matmul_bf16[static_cast<int>(shape.format)] == nullptr) {
    return;
  }
  benchmark::RegisterBenchmark(shape.name().c_str(), [shape](benchmark::State& state) {
    run_matmul(state, shape);
  })->Unit(benchmark::kMillisecond);
}

// Decode: more weights than the caches hold. Prefill: a layer of a model of a billion parameters.
const bool kRegistered = [] {
  constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16,
                                       WeightFormat::kW4, WeightFormat::kW3};
  for (const WeightFormat format : kFormats) {
    const int group_size = format == WeightFormat::kW4 || format == WeightFormat::kW3 ? 128 : 0;
    for (const bool bf16 : {true, false}) {
      for (const std::int64_t tokens : {1, 2, 4, 8}) {
        add({format, group_size, bf16, tokens, 65536, 2048});
      }
      for (const std::int64_t tokens : {16, 64, 512}) {
        add({format, group_size, bf16, tokens, 2048, 2048});
      }
      add({format, group_size, bf16, 512, 1024, 8192});
    }
  }
  add({WeightFormat::kW4, 32, true, 1, 65536, 2048});
  add({WeightFormat::kW4, 128, true, 1, 2048, 2048});  // from the cache
  add({WeightFormat::kW3, 128, true, 1, 2048, 2048});
  return true;
}();

}  // namespace
}  // namespace nibble::bench
