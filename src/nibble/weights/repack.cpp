#include "nibble/weights/repack.h"

#include <algorithm>
#include <cassert>

#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

/// The columns of each group, in their order.
std::vector<std::vector<std::int32_t>> columns_of_groups(const IntegerMatrix& matrix) {
  std::vector<std::vector<std::int32_t>> columns(static_cast<std::size_t>(matrix.groups));
  for (std::int64_t c = 0; c < matrix.cols; ++c) {
    const auto column = static_cast<std::size_t>(c);
    columns[static_cast<std::size_t>(matrix.group_of[column])].push_back(
        static_cast<std::int32_t>(c));
  }
  return columns;
}

std::int64_t filled_up(std::int64_t count, int group_size) {
  return (count + group_size - 1) / group_size * group_size;
}

/// The group size that takes the fewest columns, the larger one of equals.
int best_group_size(const std::vector<std::vector<std::int32_t>>& groups) {
  int best = 0;
  std::int64_t fewest = 0;
  for (const int size : codec_of(WeightFormat::kW4).group_sizes) {
    std::int64_t columns = 0;
    for (const auto& group : groups) columns += filled_up(std::ssize(group), size);
    if (best == 0 || columns < fewest) {
      best = size;
      fewest = columns;
    }
  }
  return best;
}

bool is_identity(const std::vector<std::int32_t>& order, std::int64_t cols) {
  if (std::ssize(order) != cols) return false;
  for (std::int64_t c = 0; c < cols; ++c) {
    if (order[static_cast<std::size_t>(c)] != c) return false;
  }
  return true;
}

/// The type that holds all scales, times `factor` too; nothing if neither does.
std::optional<ScaleType> scale_type(const IntegerMatrix& matrix, float factor) {
  bool bf16 = true;
  bool f16 = true;
  std::vector<float> scales(static_cast<std::size_t>(kRowBlock * matrix.groups));
  const auto check = [&](float scale) {
    bf16 = bf16 && (round_to_bfloat16(scale) == scale);
    f16 = f16 && (to_float(to_float16(scale)) == scale);
  };
  for (std::int64_t row = 0; row < matrix.rows && (bf16 || f16); row += kRowBlock) {
    read_scales(matrix, row, scales);
    for (const float scale : scales) {
      check(scale);
      if (factor != 1.0F) check(factor * scale);
    }
  }
  if (bf16) return ScaleType::kBF16;
  return f16 ? std::optional(ScaleType::kF16) : std::nullopt;
}

/// The type of the tensor itself says it as a rule, and no scale need be looked at.
std::optional<ScaleType> stored_scale_type(const IntegerMatrix& matrix, float factor) {
  if (matrix.scale_tensor.dtype == DType::kBF16) return ScaleType::kBF16;
  if (matrix.scale_tensor.dtype == DType::kF16 && factor == 1.0F) return ScaleType::kF16;
  return scale_type(matrix, factor);
}

int halves_of(const IntegerMatrix& matrix) {
  return matrix.bits > 4 ? 2 : 1;
}

/// What the scales of the upper half are multiplied by.
float scale_factor(const IntegerMatrix& matrix) {
  return halves_of(matrix) == 2 ? 16.0F : 1.0F;
}

/// Groups as those that take the fewest columns.
WeightLayout layout_of_groups(const IntegerMatrix& matrix,
                              const std::vector<std::vector<std::int32_t>>& groups) {
  const int group_size = best_group_size(groups);
  std::int64_t cols = 0;
  for (const auto& group : groups) cols += filled_up(std::ssize(group), group_size);
  return {.format = matrix.bits <= 3 ? WeightFormat::kW3 : WeightFormat::kW4,
          .rows = matrix.rows,
          .cols = halves_of(matrix) * cols,
          .group_size = group_size};
}

WeightLayout int8_layout(const IntegerMatrix& matrix) {
  return {.format = WeightFormat::kW8, .rows = matrix.rows, .cols = matrix.cols};
}

bool fits_int8_per_channel(const IntegerMatrix& matrix) {
  return matrix.bits == 8 && matrix.groups == 1 && matrix.cols <= kMaxInt8Cols &&
         matrix.zeros == IntegerMatrix::Zeros::kMiddle;
}

/// The half of a value: all of it, or its upper or lower four bits.
std::uint8_t half_of(std::uint8_t value, int halves, std::size_t half) {
  if (halves == 1) return value;
  return half == 0 ? value >> 4 : value & 15u;
}

void reorder_codes(const IntegerBlock& from, const RepackPlan& plan, IntegerBlock& out) {
  const auto half_cols = static_cast<std::size_t>(out.cols / plan.halves);
  for (std::int64_t r = 0; r < kRowBlock; ++r) {
    const std::uint8_t* row = from.q.data() + r * from.cols;
    std::uint8_t* to = out.q.data() + r * out.cols;
    for (std::size_t c = 0; c < static_cast<std::size_t>(out.cols); ++c) {
      const std::int32_t column = plan.input_order[c];
      if (column >= 0) to[c] = half_of(row[column], plan.halves, c / half_cols);
    }
  }
}

/// Puts the scales and zero points of the matrix's groups into those of ours.
void repeat_groups(const IntegerBlock& from, const RepackPlan& plan, IntegerBlock& out) {
  std::size_t at = 0;
  for (int half = 0; half < plan.halves; ++half) {
    const float factor = plan.halves == 2 && half == 0 ? 16.0F : 1.0F;
    for (const std::int32_t group : plan.groups) {
      for (std::int64_t r = 0; r < kRowBlock; ++r, ++at) {
        const auto place = static_cast<std::size_t>(group * kRowBlock + r);
        out.scales[at] = factor * from.scales[place];
        out.zeros[at] = half_of(from.zeros[place], plan.halves, static_cast<std::size_t>(half));
      }
    }
  }
}

}  // namespace

std::optional<RepackPlan> plan_repack(const IntegerMatrix& matrix) {
  RepackPlan plan;
  if (fits_int8_per_channel(matrix)) {
    plan.layout = int8_layout(matrix);
    return plan;
  }
  plan.halves = halves_of(matrix);
  const auto type = stored_scale_type(matrix, scale_factor(matrix));
  if (!type) return std::nullopt;
  const auto groups = columns_of_groups(matrix);
  const WeightLayout layout = layout_of_groups(matrix, groups);
  const int group_size = layout.group_size;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    const std::int64_t columns = filled_up(std::ssize(groups[group]), group_size);
    plan.input_order.insert(plan.input_order.end(), groups[group].begin(), groups[group].end());
    const auto fill = static_cast<std::size_t>(columns - std::ssize(groups[group]));
    plan.input_order.insert(plan.input_order.end(), fill, -1);
    plan.groups.insert(plan.groups.end(), static_cast<std::size_t>(columns / group_size),
                       static_cast<std::int32_t>(group));
  }
  if (plan.halves == 2) {
    const std::vector<std::int32_t> once = plan.input_order;
    plan.input_order.insert(plan.input_order.end(), once.begin(), once.end());
  }
  plan.layout = layout;
  plan.layout.scale_type = *type;
  if (is_identity(plan.input_order, matrix.cols)) plan.input_order.clear();
  return plan;
}

std::optional<WeightLayout> repacked_layout(const IntegerMatrix& matrix) {
  if (fits_int8_per_channel(matrix)) return int8_layout(matrix);
  const bool needs_look = matrix.scale_tensor.dtype == DType::kF32;
  if (needs_look && !scale_type(matrix, scale_factor(matrix))) return std::nullopt;
  return layout_of_groups(matrix, columns_of_groups(matrix));
}

IntegerBlock read_block(const IntegerMatrix& matrix, std::int64_t first) {
  IntegerBlock block(matrix.cols, matrix.groups);
  read_codes(matrix, first, block.q);
  read_zeros(matrix, first, block.zeros);
  read_scales(matrix, first, block.scales);
  return block;
}

void repack_block(const IntegerMatrix& matrix, const RepackPlan& plan, std::int64_t first,
                  const BlockSpans& out) {
  const WeightCodec& codec = codec_of(plan.layout.format);
  IntegerBlock block = read_block(matrix, first);
  const bool in_order = plan.input_order.empty();
  if (in_order && block.groups == group_count(plan.layout)) {
    return codec.pack(plan.layout, block, out);
  }
  IntegerBlock ours(plan.layout.cols, group_count(plan.layout));
  in_order ? ours.q.swap(block.q) : reorder_codes(block, plan, ours);
  repeat_groups(block, plan, ours);
  codec.pack(plan.layout, ours, out);
}

void dequantize_integers(const IntegerMatrix& matrix, std::int64_t first, std::int64_t count,
                         float* out) {
  assert(count <= kRowBlock);
  const IntegerBlock block = read_block(matrix, first);
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = 0; c < matrix.cols; ++c) {
      const auto at =
          static_cast<std::size_t>(matrix.group_of[static_cast<std::size_t>(c)] * kRowBlock + r);
      const int q = block.q[static_cast<std::size_t>(r * matrix.cols + c)];
      *out++ = static_cast<float>(q - block.zeros[at]) * block.scales[at];
    }
  }
}

}  // namespace nibble
