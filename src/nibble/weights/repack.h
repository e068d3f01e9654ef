// From another tool's integer weights to a format that kernels read, without changing a weight.
// Columns are put in the order of their groups, and groups that no kernel knows (of 16 columns, of
// a whole row, a last one that is smaller) become ones of 32, 64 or 128, by repeating scales and
// by columns that multiply nothing. Weights of 5 to 8 bits with scales a group become two matrices
// of 4 bits side by side, as q = 16 (q / 16) + q % 16, which multiply the same input.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nibble/weights/integer_matrix.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

/// How a matrix will be held.
struct RepackPlan {
  WeightLayout layout;  // its columns are those of input_order where that is not empty
  /// (layout's cols): which input feature each column multiplies, -1 for none; empty if each its
  /// own.
  std::vector<std::int32_t> input_order;
  // Of a layout with groups:
  std::vector<std::int32_t> groups;  // (groups of one half): the matrix's group of each of ours
  int halves = 1;                    // 2 where a weight's bits are in two matrices
};

/// Throws no error: nothing where no format holds these weights exactly (scales in float32 that are
/// neither float16 nor bfloat16 numbers).
std::optional<RepackPlan> plan_repack(const IntegerMatrix& matrix);

/// The layout of that plan but for the type of its scales, without a look at the weights: blocks of
/// ggml's are not touched, and of other tools' tensors only scales in float32. (Float16 scales that
/// 16 times would be infinite make no plan; they are not looked for.)
std::optional<WeightLayout> repacked_layout(const IntegerMatrix& matrix);

/// One block of 16 rows from row `first` on, packed as the plan says.
void repack_block(const IntegerMatrix& matrix, const RepackPlan& plan, std::int64_t first,
                  const BlockSpans& out);

/// The same in the matrix's own groups, which must be consecutive columns.
IntegerBlock read_block(const IntegerMatrix& matrix, std::int64_t first);

/// Rows first .. first + count - 1, up to 16, as (q - zero) * scale in float32. out: (count, cols).
void dequantize_integers(const IntegerMatrix& matrix, std::int64_t first, std::int64_t count,
                         float* out);

}  // namespace nibble
