// Random numbers that are the same on every machine and for any number of threads.
#pragma once

#include <cmath>
#include <cstdint>

namespace nibble {

/// SplitMix64 (Steele, Lea, Flood 2014): any state is as good as any other, so that every unit of
/// every tensor can begin a stream of its own.
class RandomBits {
 public:
  RandomBits(std::uint64_t seed, std::uint64_t tensor, std::uint64_t unit)
      : state_(mix(mix(mix(seed) + tensor) + unit)) {}

  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }

 private:
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  std::uint64_t state_;
};

/// A factor of 0.75 .. 1.25.
inline float jitter(RandomBits& random) {
  return 0.75F + static_cast<float>(random.next() >> 40) * 0x1p-25F;
}

/// Standard deviation of integers drawn evenly from 0 .. 2^bits - 1.
inline float integer_deviation(int bits) {
  const float values = std::ldexp(1.0F, bits);
  return std::sqrt((values * values - 1) / 12);
}

}  // namespace nibble
