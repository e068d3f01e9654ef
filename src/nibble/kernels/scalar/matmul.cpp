// Matrix products: a block of 16 rows by up to 256 columns at a time is widened to float32,
// column by column, and multiplied with every token, so that the inner loop is 16 sums side by
// side.
#include <algorithm>

#include "nibble/kernels/scalar/scalar.h"
#include "nibble/weights/weight_codec.h"

namespace nibble::scalar {
namespace {

constexpr std::int64_t kPanelCols = kColumnRun;

// What a task needs beside its operands: 16 KiB, in the first-level cache.
struct Scratch {
  float panel[kPanelCols][kRowBlock];  // w' of the columns at hand
};

float widen(float value) {
  return value;
}
float widen(BFloat16 value) {
  return to_float(value);
}

// Adds one token's product with the panel to its sums of the rows at hand.
template <typename Activation>
void add_product(const Scratch& scratch, const Activation* x, std::int64_t cols, std::int64_t rows,
                 float* out) {
  float sums[kRowBlock] = {};
  std::copy_n(out, rows, sums);
  for (std::int64_t c = 0; c < cols; ++c) {
    const float factor = widen(x[c]);
    for (std::int64_t r = 0; r < kRowBlock; ++r) sums[r] += factor * scratch.panel[c][r];
  }
  std::copy_n(sums, rows, out);
}

}  // namespace

template <typename Activation>
void matmul(const MatmulTask& task) {
  const WeightCodec& codec = codec_of(task.weight.format);
  Scratch& scratch = *reinterpret_cast<Scratch*>(task.scratch);
  const auto* x = static_cast<const Activation*>(task.x);
  const std::int64_t cols = task.weight.cols;
  for (std::int64_t row = task.row_begin; row < task.row_end; row += kRowBlock) {
    const std::int64_t rows = std::min(kRowBlock, task.row_end - row);
    for (std::int64_t t = 0; t < task.tokens; ++t) {
      std::fill_n(task.out + t * task.out_stride + row, rows, 0.0F);
    }
    for (std::int64_t begin = 0; begin < cols; begin += kPanelCols) {
      const std::int64_t width = std::min(kPanelCols, cols - begin);
      codec.dequantize(task.weight, {row / kRowBlock, begin, width}, scratch.panel[0]);
      for (std::int64_t t = 0; t < task.tokens; ++t) {
        add_product(scratch, x + t * task.x_stride + begin, width, rows,
                    task.out + t * task.out_stride + row);
      }
    }
  }
}

std::size_t matmul_scratch_bytes(std::int64_t) {
  return sizeof(Scratch);
}

template void matmul<float>(const MatmulTask&);
template void matmul<BFloat16>(const MatmulTask&);

}  // namespace nibble::scalar
