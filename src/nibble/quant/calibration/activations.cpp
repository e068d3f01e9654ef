#include "nibble/quant/calibration/activations.h"

#include <cstring>

#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

std::int64_t element_bytes(bool is_exact) {
  return is_exact ? 4 : 2;
}

}  // namespace

Activations::Activations(std::int64_t samples, std::int64_t tokens, std::int64_t width,
                         bool is_exact)
    : samples_(samples),
      tokens_(tokens),
      width_(width),
      is_exact_(is_exact),
      memory_(static_cast<std::size_t>(samples * tokens * width * element_bytes(is_exact))) {}

std::byte* Activations::at(std::int64_t sample) const {
  return memory_.data() + sample * tokens_ * width_ * element_bytes(is_exact_);
}

void Activations::load(Compute& compute, std::int64_t sample, float* out) const {
  const std::byte* from = at(sample);
  for_each_row(compute, tokens_, [&](std::int64_t t) {
    float* row = out + t * width_;
    if (is_exact_) {
      std::memcpy(row, from + t * width_ * 4, static_cast<std::size_t>(width_) * 4);
      return;
    }
    const auto* values = reinterpret_cast<const BFloat16*>(from) + t * width_;
    for (std::int64_t i = 0; i < width_; ++i) row[i] = to_float(values[i]);
  });
}

void Activations::store(Compute& compute, std::int64_t sample, const float* values) {
  std::byte* to = at(sample);
  for_each_row(compute, tokens_, [&](std::int64_t t) {
    const float* row = values + t * width_;
    if (is_exact_) {
      std::memcpy(to + t * width_ * 4, row, static_cast<std::size_t>(width_) * 4);
    } else {
      compute.kernels().to_bf16(row, width_, reinterpret_cast<BFloat16*>(to) + t * width_);
    }
  });
}

}  // namespace nibble
