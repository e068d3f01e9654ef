// Activations to int8, a group at a time. Include the set's int8.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"

namespace nibble {
namespace {

inline float group_scale(const float* x, std::int64_t n) {
  Ints most = Ints{};
  for (std::int64_t c = 0; c < n; c += kLanes) {
    most = max_magnitude(most, load(x + c, first_lanes(n - c)));
  }
  const std::int32_t bits = max_of(most);
  float magnitude;
  __builtin_memcpy(&magnitude, &bits, sizeof magnitude);
  return (magnitude < 1e-5F ? 1e-5F : magnitude) / 127.0F;  // NaN stays
}

// The codes of one group and their sum. NaN becomes -127; the group's scale tells of it.
inline std::int32_t quantize_group(const float* x, std::int64_t n, float scale,
                                   const std::int8_t* order, std::int8_t* out) {
  Ints sum = Ints{};
  for (std::int64_t c = 0; c < n; c += kCodeRun) {
    Ints codes[kBlockVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      const Vec values = load(x + c + v * kLanes, first_lanes(n - c - v * kLanes));
      codes[v] = round_to_ints(max(values / broadcast(scale), broadcast(-127.0F)));
      sum += codes[v];
    }
    store_codes(out + c, codes, order);
  }
  return sum_of(sum);
}

inline void quantize_row(const QuantizeTask& task) {
  const std::int8_t* order = task.format == WeightFormat::kW8 ? kCodeOrderW8 : kCodeOrderW4;
  for (std::int64_t g = 0; g < task.cols / task.group_size; ++g) {
    const float* x = task.x + g * task.group_size;
    const float scale = task.scale != 0 ? task.scale : group_scale(x, task.group_size);
    task.scales[g] = scale;
    task.sums[g] =
        quantize_group(x, task.group_size, scale, order, task.codes + g * task.group_size);
  }
}

}  // namespace
}  // namespace nibble
