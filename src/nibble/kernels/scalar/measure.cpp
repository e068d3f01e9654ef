// Loops that measure the machine: reading memory, and the most arithmetic this set can do.
#include <cstring>

#include "nibble/kernels/scalar/scalar.h"

namespace nibble::scalar {

std::uint64_t read_memory(const void* data, std::size_t bytes) {
  const auto* source = static_cast<const unsigned char*>(data);
  std::uint64_t sums[8] = {};
  std::size_t i = 0;
  for (; i + sizeof sums <= bytes; i += sizeof sums) {
    std::uint64_t words[8];
    std::memcpy(words, source + i, sizeof words);
    for (int j = 0; j < 8; ++j) sums[j] += words[j];
  }
  std::uint64_t sum = 0;
  for (; i < bytes; ++i) sum += source[i];
  for (const std::uint64_t part : sums) sum += part;
  return sum;
}

double peak_f32(std::int64_t iterations) {
  // 12 chains of 4 lanes: enough to hide the latency of a product and a sum, and still in
  // registers.
  typedef float Lanes __attribute__((vector_size(16)));
  constexpr int kChains = 12;
  const Lanes factor = {0.5F, 0.5F, 0.5F, 0.5F};
  Lanes sums[kChains];
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j) {
    Lanes value = factor;
    asm volatile("" : "+x"(value));  // else the compiler sees that all chains are the same
    sums[j] = value;
  }
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) sums[j] = sums[j] * factor + factor;
  }
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j) {
    const Lanes result = sums[j];
    asm volatile("" : : "x"(result));  // uses the results, so that they are computed
  }
  return 2.0 * 4 * kChains * static_cast<double>(iterations);
}

}  // namespace nibble::scalar
