// Hashes for the vocabulary, the merges and the cache of words.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace nibble::tokenizers {

inline std::uint64_t mix_hash(std::uint64_t value) {
  value *= 0x9E3779B97F4A7C15u;
  return value ^ value >> 32;
}

/// A fast hash of short strings.
inline std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = bytes.size();
  const char* data = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, data += 8) {
    std::uint64_t word;
    std::memcpy(&word, data, 8);
    hash = mix_hash(hash ^ word);
  }
  std::uint64_t word = 0;
  if (left > 0) std::memcpy(&word, data, left);
  return mix_hash(mix_hash(hash ^ word));
}

}  // namespace nibble::tokenizers
