// Products with int8 activations by AVX-VNNI's VPDPBUSD: compiled for it, and called where the
// processor has it (matmul_int8.cpp).
#include "nibble/kernels/avx2/avx2.h"
#include "nibble/kernels/avx2/simd.h"
// The set's vectors first.
#include "nibble/kernels/avx2/int8.h"

namespace nibble {
namespace {

// A tile's: 6 x 2 sums, 2 weight vectors and a broadcast.
constexpr int kInt8Vectors = 2;
constexpr int kInt8Tokens = 6;

// Weights of 0..255 times activations of -127..127, four products to each sum.
template <int kBits>
struct Dot {
  using Weights = Bytes;
  using Sum = Ints;
  static constexpr bool kInt16 = false;
  static constexpr std::int32_t kZero = 128;  // of w8: what add() takes is q + kZero
  static Weights weights(Bytes bytes) { return bytes; }
  static Sum add(Sum sum, Weights w, Bytes x) {
    return ints(_mm256_dpbusd_avx_epi32(bits(sum), w, x));
  }
};

}  // namespace
}  // namespace nibble

// What multiplies by Dot.
#include "nibble/kernels/vector/matmul_int8.h"

namespace nibble::avx2 {

void matmul_int8_w4_vnni(const MatmulTask& task) {
  multiply_int8<4>(task);
}
void matmul_int8_w3_vnni(const MatmulTask& task) {
  multiply_int8<3>(task);
}
void matmul_int8_w8_vnni(const MatmulTask& task) {
  multiply_int8<8>(task);
}
std::size_t matmul_int8_vnni_scratch_bytes() {
  return sizeof(Int8Panel);
}

double peak_int8_vnni(std::int64_t iterations) {
  constexpr int kChains = 12;
  const Bytes ones = _mm256_set1_epi8(1);
  Ints chains[kChains];
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j) {
    Ints value = {};
    asm volatile("" : "+x"(value));  // else the compiler sees that all chains are the same
    chains[j] = value;
  }
  for (std::int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) chains[j] = Dot<4>::add(chains[j], ones, ones);
  }
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j) {
    const Ints result = chains[j];
    asm volatile("" : : "x"(result));
  }
  return 2.0 * 32 * kChains * static_cast<double>(iterations);
}

}  // namespace nibble::avx2
