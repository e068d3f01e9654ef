#include "nibble/ops/rowwise.h"

namespace nibble {

void for_each_row(Compute& compute, std::int64_t rows, FunctionRef<void(std::int64_t)> work) {
  if (rows <= kFewRows) {
    for (std::int64_t row = 0; row < rows; ++row) work(row);
  } else {
    compute.pool().parallel_for(rows, [&](std::int64_t row, int) { work(row); });
  }
}

}  // namespace nibble
