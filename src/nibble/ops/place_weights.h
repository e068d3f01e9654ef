// Weights in the memory of the node whose threads read them.
#pragma once

#include <span>

#include "nibble/ops/compute.h"
#include "nibble/weights/weight.h"

namespace nibble {

/// On a machine with several memory nodes, copies weights that are multiplied with the same input
/// (8 at the most) into memory of their own, each row written first, and with it placed, by the
/// thread that matmul() deals it to. With one node it leaves them where they are: a mapped file is
/// shared with the page cache and costs no copy. Gives whether it copied. Throws Error if there is
/// no memory.
bool place_weights(Compute& compute, std::span<Weight* const> together);

}  // namespace nibble
