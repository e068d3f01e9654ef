// GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1): columns are rounded one after the
// other, and what rounding one leaves is made good by those still to come.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/integer_rows.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {

/// The columns in the order in which they are rounded, and U of cholesky.h for that order.
struct GptqOrder {
  std::vector<std::int32_t> columns;
  Matrix<float> factor;
};

/// Sets the integers of `rows`, whose scales and zero points stand ("static groups"): a column has
/// those of its own group wherever it is in the order, of which nothing is left in the result.
/// weights: (rows, cols). On the calling thread, `thread` of the pool.
void round_gptq(Compute& compute, int thread, const GptqOrder& order,
                std::span<const float> weights, IntegerRows& rows);

}  // namespace nibble
