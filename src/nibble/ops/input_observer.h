// Who sees what goes into linear layers: calibration collects its statistics by it.
#pragma once

#include <cstdint>
#include <span>

namespace nibble {

struct MatmulCall;

/// The input that one or more linear layers share: q, k and v; gate and up; o, down or the head.
struct ObservedInput {
  const float* x;  // (tokens, features): behind the norm, before any rounding
  std::int64_t tokens;
  std::int64_t features;  // in the model's order, whatever order the columns of a weight are in
  std::span<const MatmulCall> calls;  // the layers: call.weight is the address of a layer's view
};

/// Set in Compute, and told of every input of linear layers, once, before the layers run. Whoever
/// has the model knows the layers by the addresses of their weights (&Linear::weight.view).
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  /// Is called on the thread that runs the layers; the threads of compute.pool() have nothing to
  /// do meanwhile. input.x is there until it returns. Must not run linear layers by the same
  /// Compute.
  virtual void observe(const ObservedInput& input) = 0;
};

}  // namespace nibble
