// Work on each row (token) by itself: on the calling thread while there are few, else on all.
#pragma once

#include <cstdint>

#include "nibble/core/function_ref.h"
#include "nibble/ops/compute.h"

namespace nibble {

/// Up to this many rows, waking the other threads costs more than they save.
inline constexpr std::int64_t kFewRows = 8;

/// Calls work(row) for each of 0..rows-1, in any order.
void for_each_row(Compute& compute, std::int64_t rows, FunctionRef<void(std::int64_t row)> work);

}  // namespace nibble
