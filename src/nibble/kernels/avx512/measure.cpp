// Loops that measure the machine: reading memory, and the most arithmetic an instruction can do.
#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/avx512/simd.h"

namespace nibble::avx512 {
namespace {

// Sums that do not depend on each other: two a cycle of up to 6 cycles' latency, and to spare.
constexpr int kChains = 16;

// Runs `step` on every chain. The empty asm keeps the compiler from seeing that all chains are the
// same, and uses the results, so that they are computed.
template <typename Register, typename Step>
void run_chains(std::int64_t iterations, Register start, Step step) {
  Register chains[kChains];
#pragma GCC unroll 16
  for (int j = 0; j < kChains; ++j) {
    Register value = start;
    asm volatile("" : "+v"(value));
    chains[j] = value;
  }
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) chains[j] = step(chains[j]);
  }
#pragma GCC unroll 16
  for (int j = 0; j < kChains; ++j) {
    const Register result = chains[j];
    asm volatile("" : : "v"(result));
  }
}

}  // namespace

std::uint64_t read_memory(const void* data, std::size_t bytes) {
  const auto* source = static_cast<const unsigned char*>(data);
  __m512i sums[4] = {};
  std::size_t i = 0;
  for (; i + 256 <= bytes; i += 256) {
    _mm_prefetch(reinterpret_cast<const char*>(source + i + 4096), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(source + i + 4160), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(source + i + 4224), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(source + i + 4288), _MM_HINT_T0);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(source + i + 64 * j));
    }
  }
  std::uint64_t sum = 0;
  for (; i < bytes; ++i) sum += source[i];
  const __m512i all =
      _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
  return sum + static_cast<std::uint64_t>(_mm512_reduce_add_epi64(all));
}

double peak_bf16_dot(std::int64_t iterations) {
  if (__builtin_cpu_is("intel") != 0) return peak_f32_fma(iterations);  // as matmul_bf16_* do
  const auto ones = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f80));
  run_chains(iterations, zero(), [ones](Vec sum) { return _mm512_dpbf16_ps(sum, ones, ones); });
  return 2.0 * 32 * kChains * static_cast<double>(iterations);
}

double peak_int8_dot(std::int64_t iterations) {
  const __m512i ones = _mm512_set1_epi8(1);
  run_chains(iterations, _mm512_setzero_si512(),
             [ones](__m512i sum) { return _mm512_dpbusd_epi32(sum, ones, ones); });
  return 2.0 * 64 * kChains * static_cast<double>(iterations);
}

double peak_f32_fma(std::int64_t iterations) {
  const Vec half = broadcast(0.5F);
  run_chains(iterations, half, [half](Vec sum) { return fma(sum, half, half); });
  return 2.0 * 16 * kChains * static_cast<double>(iterations);
}

}  // namespace nibble::avx512
