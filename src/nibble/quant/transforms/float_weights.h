// Weights of a block's layers as float32 in memory of their own, for transforms to change.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/layers/linear.h"

namespace nibble {

/// Whether all weights are finite numbers.
bool is_finite(Compute& compute, const Linear& layer);

/// The weight of `layer`, (out, in), replaced by a float32 copy of its own if it is not one yet.
std::span<float> own_floats(Compute& compute, Linear& layer);

/// An empty float32 matrix of the layer's shape.
Weight float_weight(const Linear& layer);

/// Its elements, (out, in).
std::span<float> elements_of(Weight& weight);

/// Calls work(first, count) for runs of rows that are each whole blocks of a matrix (multiples of
/// kRowBlock, but for the last), over all threads.
void for_each_rows(Compute& compute, std::int64_t rows,
                   FunctionRef<void(std::int64_t first, std::int64_t count, int thread)> work);

}  // namespace nibble
