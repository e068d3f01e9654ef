// Linear layers by the kernels of this CPU. The norm before them is part of preparing the input;
// what follows each product (a bias, a residual sum, the gate's activation) is done by the thread
// that made it, while it is in its cache.
#pragma once

#include "nibble/ops/linear_device.h"

namespace nibble {

/// The device of every Compute that is given no other. It has no state of its own.
LinearDevice& cpu_device();

}  // namespace nibble
