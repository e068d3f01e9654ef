// Loops that measure the machine: reading memory, and the most arithmetic an instruction can do.
#include "nibble/kernels/avx2/avx2.h"
#include "nibble/kernels/avx2/simd.h"

namespace nibble::avx2 {

std::uint64_t read_memory(const void* data, std::size_t bytes) {
  const auto* source = static_cast<const unsigned char*>(data);
  __m256i sums[4] = {};
  std::size_t i = 0;
  for (; i + 128 <= bytes; i += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(source + i + 4096), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(source + i + 4160), _MM_HINT_T0);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const auto* p = reinterpret_cast<const __m256i*>(source + i + 32 * j);
      sums[j] = _mm256_add_epi64(sums[j], _mm256_loadu_si256(p));
    }
  }
  std::uint64_t sum = 0;
  for (; i < bytes; ++i) sum += source[i];
  std::uint64_t parts[4];
  const __m256i all =
      _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(parts), all);
  return sum + parts[0] + parts[1] + parts[2] + parts[3];
}

double peak_f32_fma(std::int64_t iterations) {
  constexpr int kChains = 12;  // two a cycle of 4 to 5 cycles' latency, and to spare
  const Vec half = broadcast(0.5F);
  Vec chains[kChains];
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j) {
    Vec value = half;
    asm volatile("" : "+x"(value));  // else the compiler sees that all chains are the same
    chains[j] = value;
  }
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) chains[j] = fma(chains[j], half, half);
  }
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j) {
    const Vec result = chains[j];
    asm volatile("" : : "x"(result));  // uses the results, so that they are computed
  }
  return 2.0 * 8 * kChains * static_cast<double>(iterations);
}

double peak_int8_maddubs(std::int64_t iterations) {
  constexpr int kChains = 8;
  const __m256i ones = _mm256_set1_epi8(1);
  __m256i chains[kChains];
#pragma GCC unroll 8
  for (int j = 0; j < kChains; ++j) chains[j] = ones;
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kChains; ++j) {
      __m256i weights = ones;
      asm volatile("" : "+x"(weights));  // else there is but one product
      chains[j] = _mm256_add_epi16(chains[j], _mm256_maddubs_epi16(weights, ones));
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < kChains; ++j) {
    const __m256i result = chains[j];
    asm volatile("" : : "x"(result));
  }
  return 2.0 * 32 * kChains * static_cast<double>(iterations);
}

}  // namespace nibble::avx2
