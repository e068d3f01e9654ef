// Random weight matrices of every format, with the values that they stand for.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/guarded_buffer.h"
#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"

namespace nibble::test {

/// What the matrix is: rows x cols in `format`; group_size for the formats that have groups.
struct MatrixSpec {
  WeightFormat format;
  std::int64_t rows;
  std::int64_t cols;
  int group_size = 0;
  bool extreme = false;  // of the packed formats: integers and zero points at their limits

  std::string name() const {
    return std::string(codec_of(format).name) + " " + std::to_string(rows) + "x" +
           std::to_string(cols) + " g" + std::to_string(group_size);
  }
};

struct TestMatrix {
  WeightView view;
  std::vector<double> values;      // (rows, cols): w', exactly
  std::vector<double> magnitudes;  // |w'|, or that of the parts which kernels make it of
  GuardedBuffer<std::uint8_t> data;
  GuardedBuffer<BFloat16> scales;
  GuardedBuffer<std::uint8_t> zeros;
  GuardedBuffer<float> row_scales{0};
  // Of the packed formats:
  std::vector<std::int32_t> integers;  // (rows, cols): q - zero
  std::vector<float> group_scales;     // (rows, groups)
};

inline TestMatrix make_dense(const MatrixSpec& spec, std::mt19937& random) {
  const auto count = static_cast<std::size_t>(spec.rows * spec.cols);
  const std::size_t bytes = spec.format == WeightFormat::kF32 ? 4 : 2;
  TestMatrix matrix{.view = {{spec.format, spec.rows, spec.cols}, {}},
                    .values = std::vector<double>(count),
                    .magnitudes = std::vector<double>(count),
                    .data = GuardedBuffer<std::uint8_t>(count * bytes),
                    .scales = GuardedBuffer<BFloat16>(0),
                    .zeros = GuardedBuffer<std::uint8_t>(0)};
  std::normal_distribution<float> normal(0.0F, 0.5F);
  for (std::size_t i = 0; i < count; ++i) {
    float value = normal(random);
    void* element = matrix.data.data() + i * bytes;
    if (spec.format == WeightFormat::kF32) {
      std::memcpy(element, &value, sizeof value);
    } else if (spec.format == WeightFormat::kF16) {
      const Float16 half = to_float16(value);
      std::memcpy(element, &half, sizeof half);
      value = to_float(half);
    } else {
      const BFloat16 half = to_bfloat16(value);
      std::memcpy(element, &half, sizeof half);
      value = to_float(half);
    }
    matrix.values[i] = value;
    matrix.magnitudes[i] = value < 0 ? -value : value;
  }
  matrix.view.parts[kCodesPart] = matrix.data.data();
  return matrix;
}

inline TestMatrix make_packed(const MatrixSpec& spec, std::mt19937& random) {
  const PackedGroup layout{spec.format == WeightFormat::kW4 ? 4 : 3, spec.group_size, spec.rows,
                           spec.cols};
  const auto count = static_cast<std::size_t>(spec.rows * spec.cols);
  TestMatrix matrix{.view = {{spec.format, spec.rows, spec.cols, spec.group_size}, {}},
                    .values = std::vector<double>(count),
                    .magnitudes = std::vector<double>(count),
                    .data = GuardedBuffer<std::uint8_t>(
                        static_cast<std::size_t>(layout.row_blocks() * layout.block_code_bytes())),
                    .scales = GuardedBuffer<BFloat16>(static_cast<std::size_t>(
                        layout.row_blocks() * layout.block_scale_bytes() / 2)),
                    .zeros = GuardedBuffer<std::uint8_t>(
                        static_cast<std::size_t>(layout.row_blocks() * layout.block_zero_bytes()))};
  matrix.integers.resize(count);
  matrix.group_scales.resize(static_cast<std::size_t>(spec.rows * layout.groups()));
  std::uniform_int_distribution<int> code(0, (1 << layout.bits) - 1);
  std::uniform_real_distribution<float> scale(0.01F, 0.1F);
  for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
    std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * spec.cols));
    std::vector<std::uint8_t> zeros(static_cast<std::size_t>(kRowBlock * layout.groups()));
    for (std::int64_t r = 0; r < kRowBlock && block * kRowBlock + r < spec.rows; ++r) {
      const std::int64_t row = block * kRowBlock + r;
      for (std::int64_t g = 0; g < layout.groups(); ++g) {
        const BFloat16 s = to_bfloat16(scale(random));
        const int zero_limit = row % 4 < 2 ? 0 : (1 << layout.bits) - 1;
        const auto zero = static_cast<std::uint8_t>(spec.extreme ? zero_limit : code(random));
        matrix.group_scales[static_cast<std::size_t>(row * layout.groups() + g)] = to_float(s);
        matrix.scales[static_cast<std::size_t>((block * layout.groups() + g) * kRowBlock + r)] = s;
        zeros[static_cast<std::size_t>(g * kRowBlock + r)] = zero;
        for (std::int64_t c = g * spec.group_size; c < (g + 1) * spec.group_size; ++c) {
          const int limit = row % 2 == 0 ? (1 << layout.bits) - 1 : 0;
          const auto value = static_cast<std::uint8_t>(spec.extreme ? limit : code(random));
          q[static_cast<std::size_t>(r * spec.cols + c)] = value;
          const auto at = static_cast<std::size_t>(row * spec.cols + c);
          matrix.integers[at] = value - zero;
          matrix.values[at] = static_cast<double>(value - zero) * to_float(s);
          matrix.magnitudes[at] = static_cast<double>(value + zero) * to_float(s);
        }
      }
    }
    const auto code_bytes = static_cast<std::size_t>(layout.block_code_bytes());
    const auto zero_bytes = static_cast<std::size_t>(layout.block_zero_bytes());
    const auto at = static_cast<std::size_t>(block);
    pack_codes(layout, q, matrix.data.span().subspan(at * code_bytes, code_bytes));
    pack_zeros(layout, zeros, matrix.zeros.span().subspan(at * zero_bytes, zero_bytes));
  }
  matrix.view.parts[kCodesPart] = matrix.data.data();
  matrix.view.parts[kScalesPart] = matrix.scales.data();
  matrix.view.parts[kZerosPart] = matrix.zeros.data();
  return matrix;
}

inline TestMatrix make_int8(const MatrixSpec& spec, std::mt19937& random) {
  const Int8PerChannel layout{spec.rows, spec.cols};
  const auto count = static_cast<std::size_t>(spec.rows * spec.cols);
  TestMatrix matrix{.view = {{spec.format, spec.rows, spec.cols}, {}},
                    .values = std::vector<double>(count),
                    .magnitudes = std::vector<double>(count),
                    .data = GuardedBuffer<std::uint8_t>(
                        static_cast<std::size_t>(layout.row_blocks() * layout.block_code_bytes())),
                    .scales = GuardedBuffer<BFloat16>(0),
                    .zeros = GuardedBuffer<std::uint8_t>(0),
                    .row_scales = GuardedBuffer<float>(static_cast<std::size_t>(
                        layout.row_blocks() * layout.block_scale_bytes() / 4)),
                    .integers = std::vector<std::int32_t>(count),
                    .group_scales = std::vector<float>(static_cast<std::size_t>(spec.rows))};
  std::uniform_int_distribution<int> code(-127, 127);
  std::uniform_real_distribution<float> scale(0.01F, 0.1F);
  const auto block_bytes = static_cast<std::size_t>(layout.block_code_bytes());
  for (std::int64_t block = 0; block < layout.row_blocks(); ++block) {
    std::vector<std::int8_t> q(static_cast<std::size_t>(kRowBlock * spec.cols));
    for (std::int64_t r = 0; r < kRowBlock && block * kRowBlock + r < spec.rows; ++r) {
      const std::int64_t row = block * kRowBlock + r;
      const float s = scale(random);
      matrix.row_scales[static_cast<std::size_t>(row)] = s;
      matrix.group_scales[static_cast<std::size_t>(row)] = s;
      for (std::int64_t c = 0; c < spec.cols; ++c) {
        const int value = spec.extreme ? (row % 2 == 0 ? 127 : -127) : code(random);
        q[static_cast<std::size_t>(r * spec.cols + c)] = static_cast<std::int8_t>(value);
        const auto at = static_cast<std::size_t>(row * spec.cols + c);
        matrix.integers[at] = value;
        matrix.values[at] = static_cast<double>(value) * s;
        // A kernel may multiply the two nibbles of q + 128 apart.
        const int lower = (value + 128) % 16;
        matrix.magnitudes[at] = static_cast<double>(lower + std::abs(value - lower)) * s;
      }
    }
    pack_int8(
        layout, q,
        matrix.data.span().subspan(static_cast<std::size_t>(block) * block_bytes, block_bytes));
  }
  matrix.view.parts[kCodesPart] = matrix.data.data();
  matrix.view.parts[kScalesPart] = matrix.row_scales.data();
  return matrix;
}

inline TestMatrix make_matrix(const MatrixSpec& spec, std::mt19937& random) {
  const bool packed = spec.format == WeightFormat::kW4 || spec.format == WeightFormat::kW3;
  if (spec.format == WeightFormat::kW8) return make_int8(spec, random);
  return packed ? make_packed(spec, random) : make_dense(spec, random);
}

}  // namespace nibble::test
