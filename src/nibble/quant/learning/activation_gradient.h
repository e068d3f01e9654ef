// What comes back through the activations of feed-forward networks.
#pragma once

#include "nibble/kernels/kernel_set.h"

namespace nibble {

/// A value of an activation and its derivative at x.
struct ActivationSlope {
  float value;
  float slope;
};
ActivationSlope activation_slope(Activation activation, float x);

}  // namespace nibble
