// A whole matrix through a rounder, over all threads, into the packed format that kernels read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/quant/per_group.h"
#include "nibble/quant/rounders/rounder.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

/// Rows of one piece of work: whole blocks, and whole tiles of every kernel set's products.
inline constexpr std::int64_t kRowsAtATime = 48;

struct PackedMatrix {
  WeightLayout layout;
  std::array<std::vector<std::byte>, kWeightParts> parts;  // in the order of WeightView::parts
  RoundingError error;                                     // against the weights given

  WeightView view() const;
};

/// Reads rows first .. first + count - 1 as float32; out: (count, cols). Called on many threads.
using RowReader = FunctionRef<void(std::int64_t first, std::int64_t count, std::span<float> out)>;

/// The largest magnitude of a matrix.
float largest_magnitude(Compute& compute, const WeightLayout& layout, RowReader read);

/// largest: what rows without groups take their scale from; 0: each its own. The result does not
/// depend on the threads. Weights that are not finite are left unrounded and
/// reported by error.finite.
PackedMatrix round_matrix(Compute& compute, const RowRounder& rounder, const WeightLayout& layout,
                          RowReader read, float largest = 0);

}  // namespace nibble
