// Weights of a block's layers as float32 in memory of their own, for transforms to change.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/layers/linear.h"

namespace nibble {

/// The weight of `layer`, (out, in), replaced by a float32 copy of its own if it is not one yet.
/// `name` is the layer's: throws Error for weights that are not finite numbers.
std::span<float> own_floats(Compute& compute, const std::string& name, Linear& layer);

/// An empty float32 matrix of the layer's shape.
Weight float_weight(const Linear& layer);

/// Its elements, (out, in).
std::span<float> elements_of(Weight& weight);

/// Calls work(first, count) for runs of rows that are each whole blocks of a matrix (multiples of
/// kRowBlock, but for the last), over all threads.
void for_each_rows(Compute& compute, std::int64_t rows,
                   FunctionRef<void(std::int64_t first, std::int64_t count, int thread)> work);

}  // namespace nibble
