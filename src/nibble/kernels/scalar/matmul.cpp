// Matrix products: a block of 16 rows by up to 256 columns at a time is widened to float32,
// column by column, and multiplied with every token, so that the inner loop is 16 sums side by
// side.
#include <algorithm>
#include <cstring>

#include "nibble/kernels/scalar/scalar.h"
#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"

namespace nibble::scalar {
namespace {

constexpr std::int64_t kPanelCols = 256;  // a multiple of every group size

// What a task needs beside its operands: 20 KiB, in the first-level cache.
struct Scratch {
  float panel[kPanelCols][kRowBlock];          // w' of the columns at hand
  std::uint8_t codes[kRowBlock * kPanelCols];  // unpacked, (16, columns at hand)
  std::uint8_t zeros[kPanelCols / 32 * kRowBlock];
};

float widen(float value) {
  return value;
}
float widen(Float16 value) {
  return to_float(value);
}
float widen(BFloat16 value) {
  return to_float(value);
}

// Columns begin .. begin + cols of the 16 rows from `row`; rows past the matrix become zeros.
template <typename Element>
void widen_dense(const WeightView& weight, std::int64_t row, std::int64_t begin, std::int64_t cols,
                 Scratch& scratch) {
  const auto* elements = static_cast<const Element*>(weight.data);
  for (std::int64_t r = 0; r < kRowBlock; ++r) {
    const bool exists = row + r < weight.rows;
    for (std::int64_t c = 0; c < cols; ++c) {
      scratch.panel[c][r] = exists ? widen(elements[(row + r) * weight.cols + begin + c]) : 0.0F;
    }
  }
}

// The same of a packed matrix; begin and cols are multiples of the group size.
void widen_packed(const WeightView& weight, std::int64_t row, std::int64_t begin, std::int64_t cols,
                  Scratch& scratch) {
  const PackedGroup whole = packed_group_of(weight);
  const PackedGroup part = {whole.bits, whole.group_size, kRowBlock, cols};
  const std::int64_t unit =
      row / kRowBlock * whole.groups() + begin / whole.group_size;  // first group of the part
  const auto* codes = static_cast<const std::uint8_t*>(weight.data) +
                      row / kRowBlock * whole.block_code_bytes() +
                      kRowBlock * begin * whole.bits / 8;
  unpack_codes(part, {codes, static_cast<std::size_t>(part.block_code_bytes())},
               {scratch.codes, static_cast<std::size_t>(kRowBlock * cols)});
  unpack_zeros(
      part,
      {weight.zeros + unit * 2 * whole.bits, static_cast<std::size_t>(part.block_zero_bytes())},
      {scratch.zeros, static_cast<std::size_t>(part.groups() * kRowBlock)});
  for (std::int64_t c = 0; c < cols; ++c) {
    const std::int64_t group = c / whole.group_size;
    for (std::int64_t r = 0; r < kRowBlock; ++r) {
      const int q = scratch.codes[r * cols + c];
      const int zero = scratch.zeros[group * kRowBlock + r];
      const float scale = packed_scale(weight, (unit + group) * kRowBlock + r);
      scratch.panel[c][r] = static_cast<float>(q - zero) * scale;
    }
  }
}

// The same of a w8 matrix; begin is a multiple of 4.
void widen_int8(const WeightView& weight, std::int64_t row, std::int64_t begin, std::int64_t cols,
                Scratch& scratch) {
  const auto* block = static_cast<const std::uint8_t*>(weight.data) +
                      row / kRowBlock * int8_per_channel_of(weight).block_code_bytes();
  for (std::int64_t c = 0; c < cols; ++c) {
    for (std::int64_t r = 0; r < kRowBlock; ++r) {
      const auto q = static_cast<float>(int8_at(block, r, begin + c));
      scratch.panel[c][r] = q * weight.row_scales[row + r];
    }
  }
}

template <WeightFormat format>
void widen_panel(const WeightView& weight, std::int64_t row, std::int64_t begin, std::int64_t cols,
                 Scratch& scratch) {
  if constexpr (format == WeightFormat::kF32) {
    widen_dense<float>(weight, row, begin, cols, scratch);
  } else if constexpr (format == WeightFormat::kF16) {
    widen_dense<Float16>(weight, row, begin, cols, scratch);
  } else if constexpr (format == WeightFormat::kBF16) {
    widen_dense<BFloat16>(weight, row, begin, cols, scratch);
  } else if constexpr (format == WeightFormat::kW8) {
    widen_int8(weight, row, begin, cols, scratch);
  } else {
    widen_packed(weight, row, begin, cols, scratch);
  }
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

template <WeightFormat format, typename Activation>
void matmul(const MatmulTask& task) {
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
      widen_panel<format>(task.weight, row, begin, width, scratch);
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

template void matmul<WeightFormat::kF32, float>(const MatmulTask&);
template void matmul<WeightFormat::kF16, float>(const MatmulTask&);
template void matmul<WeightFormat::kBF16, float>(const MatmulTask&);
template void matmul<WeightFormat::kW4, float>(const MatmulTask&);
template void matmul<WeightFormat::kW3, float>(const MatmulTask&);
template void matmul<WeightFormat::kW8, float>(const MatmulTask&);
template void matmul<WeightFormat::kBF16, BFloat16>(const MatmulTask&);
template void matmul<WeightFormat::kW4, BFloat16>(const MatmulTask&);
template void matmul<WeightFormat::kW3, BFloat16>(const MatmulTask&);
template void matmul<WeightFormat::kW8, BFloat16>(const MatmulTask&);

}  // namespace nibble::scalar
