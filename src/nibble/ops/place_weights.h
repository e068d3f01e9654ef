// Weights in memory that is quick to read: of the node whose threads read them, in huge pages.
#pragma once

#include <span>

#include "nibble/core/buffer.h"
#include "nibble/ops/compute.h"
#include "nibble/weights/weight.h"

namespace nibble {

/// Copies weights that are multiplied with the same input (8 at the most) to other memory, each row
/// written first, and with it put on its node, by the thread that matmul() deals it to. With one
/// node that is in huge pages of `arena`, which must outlive the weights; with several in storage
/// of their own. Throws Error if there is no memory.
void place_weights(Compute& compute, std::span<Weight* const> together, Arena& arena);

}  // namespace nibble
