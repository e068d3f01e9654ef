// The ids of words met lately: text repeats itself, so most words are looked up instead of merged.
// A fixed number of places of one cache line each; a new word takes the place of an old one.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "nibble/tokenizer/text/hash.h"

namespace nibble::tokenizers {

class WordCache {
 public:
  static constexpr std::size_t kMaxBytes = 22;
  static constexpr std::size_t kMaxIds = 8;

  /// A word's place; `hash` is that of the word.
  struct alignas(64) Place {
    std::uint64_t hash = 0;
    std::uint8_t bytes = 0;  // 0: free
    std::uint8_t ids = 0;
    char word[kMaxBytes];
    std::int32_t id[kMaxIds];
  };

  /// The place where a word (1..kMaxBytes bytes) is or would be.
  Place& place(std::uint64_t hash) { return places_[hash & (kPlaces - 1)]; }

  static bool holds(const Place& place, std::string_view word, std::uint64_t hash) {
    return place.hash == hash && place.bytes == word.size() &&
           std::memcmp(place.word, word.data(), word.size()) == 0;
  }

  static void fill(Place& place, std::string_view word, std::uint64_t hash,
                   std::span<const std::int32_t> ids) {
    place.hash = hash;
    place.bytes = static_cast<std::uint8_t>(word.size());
    place.ids = static_cast<std::uint8_t>(ids.size());
    std::memcpy(place.word, word.data(), word.size());
    std::memcpy(place.id, ids.data(), ids.size_bytes());
  }

 private:
  static constexpr std::size_t kPlaces = 1u << 15;  // 2 MiB
  std::vector<Place> places_ = std::vector<Place>(kPlaces);
};

}  // namespace nibble::tokenizers
