// Products with int8 activations by VPMADDUBSW, which sums two products of bytes in an int16.
#include "nibble/kernels/avx2/avx2.h"
#include "nibble/kernels/avx2/simd.h"
// The set's vectors first.
#include "nibble/kernels/avx2/int8.h"

namespace nibble {
namespace {

// A tile's: 4 x 2 sums, 2 or 4 weight vectors, and what adds products to them.
constexpr int kInt8Vectors = 2;
constexpr int kInt8Tokens = 4;

// Weights of 4 or 3 bits: 16 products of at most 15 * 127 fit an int16, so that those of 32 columns
// (kPartialCols) are summed there first, two columns to each sum.
template <int kBits>
struct Dot {
  using Weights = Bytes;
  using Sum = Shorts;
  static constexpr bool kInt16 = true;
  static Weights weights(Bytes bytes) { return bytes; }
  static Sum add(Sum sum, Weights w, Bytes x) {
    sum += shorts(_mm256_maddubs_epi16(w, x));
    // Else GCC adds the products up in an order of its own, all of them in memory until then.
    asm("" : "+x"(sum));
    return sum;
  }
  static Ints widen(Sum sum) { return ints(_mm256_madd_epi16(bits(sum), _mm256_set1_epi16(1))); }
};

// Two products of a byte of w8 with an activation can be past an int16, those of a magnitude of at
// most 128 with +-127 are not: the sign goes over to the activation.
template <>
struct Dot<8> {
  struct Weights {
    Bytes magnitudes;
    Bytes values;
  };
  using Sum = Ints;
  static constexpr bool kInt16 = false;
  static constexpr std::int32_t kZero = 0;  // what add() takes is q + kZero
  static Weights weights(Bytes bytes) {
    const Bytes values = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
    return {_mm256_abs_epi8(values), values};
  }
  static Sum add(Sum sum, const Weights& w, Bytes x) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitudes, _mm256_sign_epi8(x, w.values));
    return sum + ints(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

}  // namespace
}  // namespace nibble

// What multiplies by Dot.
#include "nibble/kernels/vector/matmul_int8.h"
#include "nibble/kernels/vector/quantize.h"

namespace nibble::avx2 {
namespace {

bool has_avx_vnni() {
  return __builtin_cpu_supports("avxvnni") != 0;
}

}  // namespace

void matmul_int8_w4_maddubs(const MatmulTask& task) {
  multiply_int8<4>(task);
}
void matmul_int8_w3_maddubs(const MatmulTask& task) {
  multiply_int8<3>(task);
}
void matmul_int8_w8_maddubs(const MatmulTask& task) {
  multiply_int8<8>(task);
}

void matmul_int8_w4(const MatmulTask& task) {
  has_avx_vnni() ? matmul_int8_w4_vnni(task) : matmul_int8_w4_maddubs(task);
}
void matmul_int8_w3(const MatmulTask& task) {
  has_avx_vnni() ? matmul_int8_w3_vnni(task) : matmul_int8_w3_maddubs(task);
}
void matmul_int8_w8(const MatmulTask& task) {
  has_avx_vnni() ? matmul_int8_w8_vnni(task) : matmul_int8_w8_maddubs(task);
}
std::size_t matmul_int8_scratch_bytes() {
  const std::size_t vnni = matmul_int8_vnni_scratch_bytes();
  return vnni > sizeof(Int8Panel) ? vnni : sizeof(Int8Panel);
}

void quantize_int8(const QuantizeTask& task) {
  quantize_row(task);
}
float int8_scale(const float* x, std::int64_t n) {
  return group_scale(x, n);
}

double peak_int8_dot(std::int64_t iterations) {
  return has_avx_vnni() ? peak_int8_vnni(iterations) : peak_int8_maddubs(iterations);
}

}  // namespace nibble::avx2
