// Products with int8 activations. Sums of a group are exact integers and their order does not
// matter; what follows is done group by group with the same roundings in every set.
#include <algorithm>
#include <cmath>

#include "nibble/kernels/scalar/scalar.h"
#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"

namespace nibble::scalar {
namespace {

constexpr std::int64_t kMaxGroup = 128;

const std::int8_t* code_order(WeightFormat format) {
  return format == WeightFormat::kW8 ? kCodeOrderW8 : kCodeOrderW4;
}

// One group of a block of 16 rows.
struct Group {
  std::uint8_t codes[kRowBlock * kMaxGroup];  // (16, group_size)
  std::uint8_t zeros[kRowBlock];
  float scales[kRowBlock];
};

void load_group(const WeightView& weight, std::int64_t row, std::int64_t group, Group& out) {
  const PackedGroup whole = packed_group_of(weight);
  const PackedGroup part = {whole.bits, whole.group_size, kRowBlock, whole.group_size};
  const std::int64_t block = row / kRowBlock;
  const auto* codes = static_cast<const std::uint8_t*>(weight.parts[kCodesPart]) +
                      block * whole.block_code_bytes() + group * part.block_code_bytes();
  const std::int64_t unit = block * whole.groups() + group;
  unpack_codes(part, {codes, static_cast<std::size_t>(part.block_code_bytes())},
               {out.codes, static_cast<std::size_t>(kRowBlock * whole.group_size)});
  const auto* zeros = static_cast<const std::uint8_t*>(weight.parts[kZerosPart]);
  unpack_zeros(
      part,
      {zeros + unit * part.block_zero_bytes(), static_cast<std::size_t>(part.block_zero_bytes())},
      out.zeros);
  for (std::int64_t r = 0; r < kRowBlock; ++r) {
    out.scales[r] = packed_scale(weight, unit * kRowBlock + r);
  }
}

// Adds one token's product with a group to its sums of the rows at hand.
void add_group(const MatmulTask& task, const Group& group, std::int64_t index, std::int64_t t,
               std::int64_t row) {
  const std::int64_t group_size = task.weight.group_size;
  const std::int64_t at = t * (task.weight.cols / group_size) + index;
  const auto* x = static_cast<const std::int8_t*>(task.x) + t * task.x_stride + index * group_size;
  const std::int8_t* order = code_order(task.weight.format);
  const std::int64_t rows = std::min(kRowBlock, task.row_end - row);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::uint8_t* codes = group.codes + r * group_size;
    std::int32_t sum = -group.zeros[r] * task.x_code_sums[at];
    for (std::int64_t c = 0; c < group_size; ++c) {
      sum += codes[c / kCodeRun * kCodeRun + order[c % kCodeRun]] * x[c];
    }
    float& total = task.out[t * task.out_stride + row + r];
    total = std::fma(group.scales[r] * task.x_scales[at], static_cast<float>(sum), total);
  }
}

}  // namespace

void matmul_int8(const MatmulTask& task) {
  Group& group = *reinterpret_cast<Group*>(task.scratch);
  for (std::int64_t row = task.row_begin; row < task.row_end; row += kRowBlock) {
    const std::int64_t rows = std::min(kRowBlock, task.row_end - row);
    for (std::int64_t t = 0; t < task.tokens; ++t) {
      std::fill_n(task.out + t * task.out_stride + row, rows, 0.0F);
    }
    for (std::int64_t g = 0; g < task.weight.cols / task.weight.group_size; ++g) {
      load_group(task.weight, row, g, group);
      for (std::int64_t t = 0; t < task.tokens; ++t) add_group(task, group, g, t, row);
    }
  }
}

void matmul_int8_w8(const MatmulTask& task) {
  const WeightView& weight = task.weight;
  const Int8PerChannel layout = int8_per_channel_of(weight);
  for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
    const auto* block = static_cast<const std::uint8_t*>(weight.parts[kCodesPart]) +
                        row / kRowBlock * layout.block_code_bytes();
    const float scale = static_cast<const float*>(weight.parts[kScalesPart])[row];
    for (std::int64_t t = 0; t < task.tokens; ++t) {
      const auto* x = static_cast<const std::int8_t*>(task.x) + t * task.x_stride;
      std::int32_t sum = 0;
      for (std::int64_t i = 0; i < layout.chunks() * 4; ++i) {
        const std::int64_t c = i / kCodeRun * kCodeRun + kCodeOrderW8[i % kCodeRun];
        if (c < weight.cols) sum += int8_at(block, row % kRowBlock, c) * x[i];
      }
      const float factor = scale * task.x_scales[t];
      task.out[t * task.out_stride + row] = std::fma(factor, static_cast<float>(sum), 0.0F);
    }
  }
}

float int8_scale(const float* x, std::int64_t n) {
  float most = 0;
  for (std::int64_t c = 0; c < n; ++c) {
    const float magnitude = std::fabs(x[c]);
    if (!(magnitude <= most)) most = magnitude;  // NaN too,
    if (std::isnan(most)) break;                 // and for good
  }
  return (most < 1e-5F ? 1e-5F : most) / 127.0F;
}

void quantize_int8(const QuantizeTask& task) {
  const std::int8_t* order = code_order(task.format);
  for (std::int64_t g = 0; g < task.cols / task.group_size; ++g) {
    const float* x = task.x + g * task.group_size;
    std::int8_t* codes = task.codes + g * task.group_size;
    const float scale = task.scale != 0 ? task.scale : int8_scale(x, task.group_size);
    std::int32_t sum = 0;
    for (std::int64_t i = 0; i < (task.group_size + kCodeRun - 1) / kCodeRun * kCodeRun; ++i) {
      const std::int64_t c = i / kCodeRun * kCodeRun + order[i % kCodeRun];
      const float ratio = (c < task.group_size ? x[c] : 0.0F) / scale;
      const auto code = static_cast<int>(std::nearbyint(ratio > -127.0F ? ratio : -127.0F));
      codes[i] = static_cast<std::int8_t>(code);
      sum += code;
    }
    task.scales[g] = scale;
    task.sums[g] = sum;
  }
}

}  // namespace nibble::scalar
