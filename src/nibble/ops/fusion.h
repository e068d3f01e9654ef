// Which operators of a pass run as one. All that can do; apart, for who wants to see what each
// brings, they are separate operators with their results in memory between them.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace nibble {

enum class Fusion : std::uint8_t {
  kProjections = 1,  // q, k and v: products in one go, the input prepared once
  kAttention = 2,    // scores, softmax and weighted values by tiles, with an online softmax; apart,
                     // for each token and head a row of scores, its softmax, the sum of values
  kRope = 4,         // rotary positions of q and k, and the store to the cache: one walk
  kNorm = 8,         // a norm with the products that take it
  kActivation = 16,  // the activation, and the gate, with the products that give it
  kResidual = 32     // the residual sum with the product before it
};

class FusionSet {
 public:
  constexpr FusionSet() = default;  // none
  constexpr FusionSet(std::initializer_list<Fusion> fusions) {
    for (const Fusion fusion : fusions) bits_ |= static_cast<std::uint8_t>(fusion);
  }
  static constexpr FusionSet all() {
    return {Fusion::kProjections, Fusion::kAttention,  Fusion::kRope,
            Fusion::kNorm,        Fusion::kActivation, Fusion::kResidual};
  }

  constexpr bool has(Fusion fusion) const {
    return (bits_ & static_cast<std::uint8_t>(fusion)) != 0;
  }
  constexpr FusionSet& operator|=(const FusionSet& other) {
    bits_ |= other.bits_;
    return *this;
  }
  constexpr bool operator==(const FusionSet&) const = default;

 private:
  std::uint8_t bits_ = 0;
};

}  // namespace nibble
