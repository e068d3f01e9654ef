// exp of a vector. Include the set's simd.h first.
#pragma once

namespace nibble {
namespace {

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2; ln 2 in two parts, so that r keeps
// its low bits. The polynomial is that of Cephes' expf (Moshier, netlib.org/cephes, single/expf.c).
// At most 1.02 units in the last place off (every float32 with a normal result compared with
// double); inf, NaN and underflow come out as in std::exp, subnormal results rounded once more.
inline Vec exp(Vec x) {
  // -104 and less round to 0, 89 and more to inf; NaN passes both as the second operand.
  x = min(broadcast(89.0F), max(broadcast(-105.0F), x));
  const Vec n = round(x * broadcast(1.44269504F));
  Vec r = negated_fma(n, broadcast(0.693359375F), x);
  r = negated_fma(n, broadcast(-2.12194440e-4F), r);
  Vec p = broadcast(1.9875691500e-4F);
  p = fma(p, r, broadcast(1.3981999507e-3F));
  p = fma(p, r, broadcast(8.3334519073e-3F));
  p = fma(p, r, broadcast(4.1665795894e-2F));
  p = fma(p, r, broadcast(1.6666665459e-1F));
  p = fma(p, r, broadcast(5.0000001201e-1F));
  p = fma(p, r * r, r) + broadcast(1.0F);
  return scale_by_power(p, n);
}

}  // namespace
}  // namespace nibble
