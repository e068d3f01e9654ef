#include "nibble/weights/ggml_quantize.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>

#include "nibble/core/bfloat16.h"
#include "nibble/core/dtype.h"

namespace nibble {
namespace {

constexpr std::size_t kBlock = 32;

void store_half(float value, std::byte* place) {
  const Float16 half = to_float16(value);
  std::memcpy(place, &half, sizeof half);
}

float rounded_to_half(float value) {
  return to_float(to_float16(value));
}

std::uint8_t* bytes_at(std::byte* place) {
  return reinterpret_cast<std::uint8_t*>(place);
}

/// 32 half bytes: elements 0-15 in the low, 16-31 in the high halves.
void store_half_bytes(const std::uint8_t* q, std::byte* place) {
  for (std::size_t i = 0; i < kBlock / 2; ++i) {
    bytes_at(place)[i] = static_cast<std::uint8_t>(q[i] | (q[i + kBlock / 2] << 4));
  }
}

/// x + offset cut to an integer of 0..15.
std::uint8_t code_of(float x, float offset) {
  return static_cast<std::uint8_t>(std::clamp(static_cast<int>(x + offset), 0, 15));
}

/// 1 / scale; 0 for 0 and for what is too small.
float inverse(float scale) {
  const float factor = 1.0f / scale;
  return std::isfinite(factor) ? factor : 0.0f;
}

void quantize_q8_0(const float* x, std::byte* out) {
  float largest = 0;
  for (std::size_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(x[i]));
  const float scale = largest / 127.0f;
  const float factor = inverse(scale);
  store_half(scale, out);
  for (std::size_t i = 0; i < kBlock; ++i) {
    bytes_at(out + 2)[i] = static_cast<std::uint8_t>(static_cast<int>(std::round(x[i] * factor)));
  }
}

/// The element of the largest magnitude becomes -8.
void quantize_q4_0(const float* x, std::byte* out) {
  const float* extreme =
      std::max_element(x, x + kBlock, [](float a, float b) { return std::abs(a) < std::abs(b); });
  const float scale = *extreme / -8.0f;
  const float factor = inverse(scale);
  std::array<std::uint8_t, kBlock> q;
  for (std::size_t i = 0; i < kBlock; ++i) q[i] = code_of(x[i] * factor, 8.5f);
  store_half(scale, out);
  store_half_bytes(q.data(), out + 2);
}

void quantize_q4_1(const float* x, std::byte* out) {
  const auto [lo, hi] = std::minmax_element(x, x + kBlock);
  const float minimum = *lo;
  const float scale = (*hi - minimum) / 15.0f;
  const float factor = inverse(scale);
  std::array<std::uint8_t, kBlock> q;
  for (std::size_t i = 0; i < kBlock; ++i) q[i] = code_of((x[i] - minimum) * factor, 0.5f);
  store_half(scale, out);
  store_half(minimum, out + 2);
  store_half_bytes(q.data(), out + 4);
}

// --- Q4_K ---

/// Scale and minimum of 32 elements under way, and what they cost.
struct Fit {
  float scale = 0;
  float minimum = 0;  // distance below 0
  double error = 0;
};

/// The integers that (scale, minimum) give.
void assign_codes(const float* x, float scale, float minimum, std::uint8_t* q) {
  const float factor = inverse(scale);
  for (std::size_t i = 0; i < kBlock; ++i) q[i] = code_of((x[i] + minimum) * factor, 0.5f);
}

/// The least-squares scale and minimum for integers that are given; the minimum stays 0 or more.
Fit refit(const float* x, const std::uint8_t* q) {
  double sum_q = 0;
  double sum_qq = 0;
  double sum_x = 0;
  double sum_qx = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    sum_q += q[i];
    sum_qq += q[i] * q[i];
    sum_x += static_cast<double>(x[i]);
    sum_qx += q[i] * static_cast<double>(x[i]);
  }
  const double determinant = static_cast<double>(kBlock) * sum_qq - sum_q * sum_q;
  double scale = sum_qq > 0 ? sum_qx / sum_qq : 0;
  double minimum = 0;
  if (determinant > 0) {
    const double free_minimum = (sum_q * sum_qx - sum_qq * sum_x) / determinant;
    if (free_minimum > 0) {
      minimum = free_minimum;
      scale = (static_cast<double>(kBlock) * sum_qx - sum_q * sum_x) / determinant;
    }
  }
  return {static_cast<float>(std::max(scale, 0.0)), static_cast<float>(minimum)};
}

double error_of(const float* x, const Fit& fit) {
  std::array<std::uint8_t, kBlock> q;
  assign_codes(x, fit.scale, fit.minimum, q.data());
  double error = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const double difference = static_cast<double>(fit.scale * static_cast<float>(q[i])) -
                              static_cast<double>(fit.minimum) - static_cast<double>(x[i]);
    error += difference * difference;
  }
  return error;
}

/// Scale and minimum of the least squared error among ranges that are cut by up to 20 %, each
/// improved by two rounds of least squares.
Fit fit_32(const float* x) {
  const auto [lo, hi] = std::minmax_element(x, x + kBlock);
  const float minimum = std::max(-*lo, 0.0f);
  const float range = std::max(*hi, 0.0f) + minimum;
  Fit best{range / 15.0f, minimum};
  best.error = error_of(x, best);
  for (int cut = 0; cut <= 8; ++cut) {
    Fit fit{range * (1.0f - 0.025f * static_cast<float>(cut)) / 15.0f, minimum};
    for (int round = 0; round < 2; ++round) {
      std::array<std::uint8_t, kBlock> q;
      assign_codes(x, fit.scale, fit.minimum, q.data());
      fit = refit(x, q.data());
      fit.error = error_of(x, fit);
      if (fit.error < best.error) best = fit;
    }
  }
  return best;
}

void quantize_q4_k(const float* x, std::byte* out) {
  ScalesOf256 wanted;
  for (std::size_t group = 0; group < 8; ++group) {
    const Fit fit = fit_32(x + group * kBlock);
    wanted.scales[group] = fit.scale;
    wanted.minimums[group] = fit.minimum;
  }
  encode_q4_k({x, 256}, wanted, out);
}

/// `value` as a multiple of `unit`, of 6 bits.
std::uint8_t multiple_of(float value, float unit) {
  return static_cast<std::uint8_t>(
      std::clamp(static_cast<int>(std::lrint(value * inverse(unit))), 0, 63));
}

/// Puts the eight pairs of 6-bit numbers into the 12 bytes of Q4_K.
void store_scales(const std::array<std::uint8_t, 8>& scales,
                  const std::array<std::uint8_t, 8>& minimums, std::uint8_t* out) {
  for (std::size_t i = 0; i < 4; ++i) {
    out[i] = static_cast<std::uint8_t>(scales[i] | (scales[i + 4] >> 4 << 6));
    out[i + 4] = static_cast<std::uint8_t>(minimums[i] | (minimums[i + 4] >> 4 << 6));
    out[i + 8] = static_cast<std::uint8_t>((scales[i + 4] & 15) | (minimums[i + 4] & 15) << 4);
  }
}

}  // namespace

void quantize_row(DType dtype, std::span<const float> values, std::byte* out) {
  const DTypeLayout layout = dtype_layout(dtype);
  assert(std::ssize(values) % layout.block == 0);
  const auto quantize = dtype == DType::kQ8_0   ? quantize_q8_0
                        : dtype == DType::kQ4_0 ? quantize_q4_0
                        : dtype == DType::kQ4_1 ? quantize_q4_1
                                                : quantize_q4_k;
  assert(quantize != quantize_q4_k || dtype == DType::kQ4_K);
  for (std::int64_t i = 0; i < std::ssize(values) / layout.block; ++i) {
    quantize(values.data() + i * layout.block, out + i * layout.bytes);
  }
}

void encode_q4_1(std::span<const std::uint8_t> q, float scale, int zero, std::byte* out) {
  assert(q.size() == kBlock);
  store_half(scale, out);
  store_half(-static_cast<float>(zero) * scale, out + 2);
  store_half_bytes(q.data(), out + 4);
}

void encode_q8_0(std::span<const std::uint8_t> q, float scale, int zero, std::byte* out) {
  assert(q.size() == kBlock);
  store_half(scale, out);
  for (std::size_t i = 0; i < kBlock; ++i) {
    bytes_at(out + 2)[i] = static_cast<std::uint8_t>(q[i] - zero);
  }
}

void encode_q4_k(std::span<const float> values, const ScalesOf256& wanted, std::byte* out) {
  assert(values.size() == 256);
  const float unit = rounded_to_half(*std::max_element(wanted.scales, wanted.scales + 8) / 63.0f);
  const float minimum_unit =
      rounded_to_half(*std::max_element(wanted.minimums, wanted.minimums + 8) / 63.0f);
  std::array<std::uint8_t, 8> scales;
  std::array<std::uint8_t, 8> minimums;
  std::byte* codes = out + 16;
  for (std::size_t group = 0; group < 8; ++group) {
    scales[group] = multiple_of(wanted.scales[group], unit);
    minimums[group] = multiple_of(wanted.minimums[group], minimum_unit);
    std::array<std::uint8_t, kBlock> q;
    assign_codes(values.data() + group * kBlock, unit * static_cast<float>(scales[group]),
                 minimum_unit * static_cast<float>(minimums[group]), q.data());
    std::uint8_t* to = bytes_at(codes + group / 2 * kBlock);
    for (std::size_t i = 0; i < kBlock; ++i) {
      to[i] = static_cast<std::uint8_t>(group % 2 == 0 ? q[i] : to[i] | (q[i] << 4));
    }
  }
  store_half(unit, out);
  store_half(minimum_unit, out + 2);
  store_scales(scales, minimums, bytes_at(out + 4));
}

}  // namespace nibble
