#include "nibble/weights/repack.h"

#include <algorithm>
#include <cassert>

namespace nibble {
namespace {

constexpr int kGroupSizes[] = {128, 64, 32};

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
  for (const int size : kGroupSizes) {
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

enum class ScaleType { kBF16, kF16, kNeither };

/// The type that holds all scales, times `factor` too.
ScaleType scale_type(const IntegerMatrix& matrix, float factor) {
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
  return bf16 ? ScaleType::kBF16 : f16 ? ScaleType::kF16 : ScaleType::kNeither;
}

/// The type of the tensor itself says it as a rule, and no scale need be looked at.
ScaleType stored_scale_type(const IntegerMatrix& matrix, float factor) {
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
PackedGroup layout_of_groups(const IntegerMatrix& matrix,
                             const std::vector<std::vector<std::int32_t>>& groups) {
  const int group_size = best_group_size(groups);
  std::int64_t cols = 0;
  for (const auto& group : groups) cols += filled_up(std::ssize(group), group_size);
  return {.bits = matrix.bits <= 3 ? 3 : 4,
          .group_size = group_size,
          .rows = matrix.rows,
          .cols = halves_of(matrix) * cols};
}

bool fits_int8_per_channel(const IntegerMatrix& matrix) {
  return matrix.bits == 8 && matrix.groups == 1 && matrix.cols <= kMaxInt8Cols &&
         matrix.zeros == IntegerMatrix::Zeros::kMiddle;
}

/// What read_*() give for one block of rows.
struct Block {
  Block(const IntegerMatrix& matrix, std::int64_t first)
      : q(static_cast<std::size_t>(kRowBlock * matrix.cols)),
        zeros(static_cast<std::size_t>(kRowBlock * matrix.groups)),
        scales(zeros.size()) {
    read_codes(matrix, first, q);
    read_zeros(matrix, first, zeros);
    read_scales(matrix, first, scales);
  }
  std::vector<std::uint8_t> q;      // (16, cols)
  std::vector<std::uint8_t> zeros;  // (groups, 16)
  std::vector<float> scales;        // "
};

void repack_int8(const Block& block, const Int8PerChannel& layout, const RepackedBlock& out) {
  std::vector<std::int8_t> q(block.q.size());
  std::transform(block.q.begin(), block.q.end(), q.begin(),
                 [](std::uint8_t code) { return static_cast<std::int8_t>(code - 128); });
  pack_int8(layout, q, out.codes);
  std::copy(block.scales.begin(), block.scales.end(), out.row_scales.begin());
}

/// The half of a value: all of it, or its upper or lower four bits.
std::uint8_t half_of(std::uint8_t value, int halves, std::size_t half) {
  if (halves == 1) return value;
  return half == 0 ? value >> 4 : value & 15u;
}

void reorder_codes(const Block& block, const RepackPlan& plan, std::int64_t from_cols,
                   std::int64_t cols, std::vector<std::uint8_t>& q) {
  const auto half_cols = static_cast<std::size_t>(cols / plan.halves);
  for (std::int64_t r = 0; r < kRowBlock; ++r) {
    const std::uint8_t* from = block.q.data() + r * from_cols;
    std::uint8_t* to = q.data() + r * cols;
    for (std::size_t c = 0; c < static_cast<std::size_t>(cols); ++c) {
      const std::int32_t column = plan.input_order[c];
      if (column >= 0) to[c] = half_of(from[column], plan.halves, c / half_cols);
    }
  }
}

void repack_scales(const Block& block, const RepackPlan& plan, const RepackedBlock& out,
                   std::vector<std::uint8_t>& zeros) {
  std::size_t at = 0;
  for (int half = 0; half < plan.halves; ++half) {
    const float factor = plan.halves == 2 && half == 0 ? 16.0F : 1.0F;
    for (const std::int32_t group : plan.groups) {
      for (std::int64_t r = 0; r < kRowBlock; ++r, ++at) {
        const auto from = static_cast<std::size_t>(group * kRowBlock + r);
        const float scale = factor * block.scales[from];
        out.scales[at] = plan.f16_scales ? to_float16(scale).bits : to_bfloat16(scale).bits;
        zeros[at] = half_of(block.zeros[from], plan.halves, static_cast<std::size_t>(half));
      }
    }
  }
}

}  // namespace

std::optional<RepackPlan> plan_repack(const IntegerMatrix& matrix) {
  RepackPlan plan;
  if (fits_int8_per_channel(matrix)) {
    plan.layout = Int8PerChannel{.rows = matrix.rows, .cols = matrix.cols};
    return plan;
  }
  plan.halves = halves_of(matrix);
  const ScaleType type = stored_scale_type(matrix, scale_factor(matrix));
  if (type == ScaleType::kNeither) return std::nullopt;
  plan.f16_scales = type == ScaleType::kF16;
  const auto groups = columns_of_groups(matrix);
  const PackedGroup layout = layout_of_groups(matrix, groups);
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
  if (is_identity(plan.input_order, matrix.cols)) plan.input_order.clear();
  return plan;
}

std::optional<PackedLayout> repacked_layout(const IntegerMatrix& matrix) {
  if (fits_int8_per_channel(matrix)) {
    return Int8PerChannel{.rows = matrix.rows, .cols = matrix.cols};
  }
  const bool needs_look = matrix.scale_tensor.dtype == DType::kF32;
  if (needs_look && scale_type(matrix, scale_factor(matrix)) == ScaleType::kNeither) {
    return std::nullopt;
  }
  return layout_of_groups(matrix, columns_of_groups(matrix));
}

void repack_block(const IntegerMatrix& matrix, const RepackPlan& plan, std::int64_t first,
                  const RepackedBlock& out) {
  const Block block(matrix, first);
  if (const auto* int8 = std::get_if<Int8PerChannel>(&plan.layout)) {
    return repack_int8(block, *int8, out);
  }
  const auto& layout = std::get<PackedGroup>(plan.layout);
  if (plan.input_order.empty()) {
    pack_codes(layout, block.q, out.codes);
  } else {
    std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * layout.cols));
    reorder_codes(block, plan, matrix.cols, layout.cols, q);
    pack_codes(layout, q, out.codes);
  }
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(layout.groups() * kRowBlock));
  repack_scales(block, plan, out, zeros);
  pack_zeros(layout, zeros, out.zeros);
}

void dequantize_integers(const IntegerMatrix& matrix, std::int64_t first, std::int64_t count,
                         float* out) {
  assert(count <= kRowBlock);
  const Block block(matrix, first);
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
