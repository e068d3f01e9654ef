// Matrix products by format: a few tokens (GB/s of weights read) and many (operations a second).
// Both are to be read beside read_memory and the peaks of the same run.
#include <benchmark/benchmark.h>

#include <string>

#include "bench_data.h"
#include "nibble/kernels/select.h"

namespace nibble::bench {
namespace {

using benchmark::Counter;

enum class Activations { kF32, kBF16, kInt8 };

struct Shape {
  WeightFormat format;
  int group_size;
  Activations activations;
  std::int64_t tokens;
  std::int64_t rows;
  std::int64_t cols;

  std::string name() const {
    std::string text = std::string("matmul/") + codec_of(format).name;
    if (group_size > 0) text += "_g" + std::to_string(group_size);
    constexpr const char* kNames[] = {"/x_f32", "/x_bf16", "/x_int8"};
    text += kNames[static_cast<int>(activations)];
    return text + "/" + std::to_string(tokens) + "x" + std::to_string(rows) + "x" +
           std::to_string(cols);
  }
};

void (*find_matmul(const Shape& shape))(const MatmulTask&) {
  const KernelSet& kernels = select_kernels();
  const auto format = static_cast<int>(shape.format);
  return shape.activations == Activations::kInt8   ? kernels.matmul_int8[format]
         : shape.activations == Activations::kBF16 ? kernels.matmul_bf16[format]
                                                   : kernels.matmul_f32[format];
}

void run_matmul(benchmark::State& state, const Shape& shape) {
  const KernelSet& kernels = select_kernels();
  const auto matmul = find_matmul(shape);
  const Matrix matrix(shape.format, shape.rows, shape.cols, shape.group_size);
  const std::int64_t groups = shape.group_size > 0 ? shape.cols / shape.group_size : 1;
  Array<float> x_f32(static_cast<std::size_t>(shape.tokens * shape.cols));
  Array<BFloat16> x_bf16(x_f32.size());
  Array<std::int8_t> x_int8(x_f32.size());
  Array<float> sums(static_cast<std::size_t>(shape.tokens * groups));
  Array<std::int32_t> code_sums(sums.size());
  Array<float> out(static_cast<std::size_t>(shape.tokens * shape.rows));
  Array<std::byte> scratch(kernels.matmul_scratch_bytes(shape.cols));
  for (std::size_t i = 0; i < x_f32.size(); ++i) {
    x_f32.data()[i] = static_cast<float>(i % 7) - 3.0F;
    x_bf16.data()[i] = to_bfloat16(x_f32.data()[i]);
    x_int8.data()[i] = static_cast<std::int8_t>(x_f32.data()[i]);
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums.data()[i] = 1.0F;
  for (std::size_t i = 0; i < sums.size(); ++i) code_sums.data()[i] = 1;
  const void* x = shape.activations == Activations::kInt8 ? static_cast<const void*>(x_int8.data())
                  : shape.activations == Activations::kBF16
                      ? x_bf16.data()
                      : static_cast<const void*>(x_f32.data());
  MatmulTask task{.weight = matrix.view(),
                  .x = x,
                  .x_stride = shape.cols,
                  .x_sums = sums.data(),
                  .tokens = shape.tokens,
                  .row_begin = 0,
                  .row_end = shape.rows,
                  .out = out.data(),
                  .out_stride = shape.rows,
                  .scratch = scratch.data(),
                  .x_scales = sums.data(),
                  .x_code_sums = code_sums.data()};
  const std::int64_t panel_rows =
      shape.activations == Activations::kInt8 ? kernels.int8_panel_rows : kernels.panel_rows;
  for (auto _ : state) {
    // As the operators cut it: what one thread takes at a time.
    for (std::int64_t row = 0; row < shape.rows; row += panel_rows) {
      task.row_begin = row;
      task.row_end = std::min(row + panel_rows, shape.rows);
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
  if (find_matmul(shape) == nullptr) return;
  benchmark::RegisterBenchmark(shape.name().c_str(), [shape](benchmark::State& state) {
    run_matmul(state, shape);
  })->Unit(benchmark::kMillisecond);
}

// Decode: more weights than the caches hold. Prefill: a layer of a model of a billion parameters.
const bool kRegistered = [] {
  constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16,
                                       WeightFormat::kW4,  WeightFormat::kW3,  WeightFormat::kW8};
  for (const WeightFormat format : kFormats) {
    const int group_size = format == WeightFormat::kW4 || format == WeightFormat::kW3 ? 128 : 0;
    for (const Activations x : {Activations::kBF16, Activations::kInt8, Activations::kF32}) {
      for (const std::int64_t tokens : {1, 2, 4, 8}) {
        add({format, group_size, x, tokens, 65536, 2048});
      }
      for (const std::int64_t tokens : {16, 64, 512}) {
        add({format, group_size, x, tokens, 2048, 2048});
      }
      add({format, group_size, x, 512, 1024, 8192});
    }
  }
  add({WeightFormat::kW4, 32, Activations::kBF16, 1, 65536, 2048});
  add({WeightFormat::kW4, 32, Activations::kInt8, 512, 2048, 2048});
  for (const Activations x : {Activations::kBF16, Activations::kInt8}) {  // from the cache
    add({WeightFormat::kW4, 128, x, 1, 2048, 2048});
    add({WeightFormat::kW3, 128, x, 1, 2048, 2048});
    add({WeightFormat::kW8, 0, x, 1, 1024, 2048});
  }
  return true;
}();

}  // namespace
}  // namespace nibble::bench
