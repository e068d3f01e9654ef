// Small files built byte by byte, whole and broken, and what to do with broken ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>

namespace nibble::testing {

/// A number's bytes, little-endian.
template <typename T>
std::string le(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// Calls `open(bytes)` with every beginning of `file`, and with `flips` copies that have one to
/// three random bytes changed (the same ones in every run).
template <typename Open>
void for_every_damage(const std::string& file, int flips, Open open) {
  for (std::size_t size = 0; size < file.size(); ++size) open(file.substr(0, size));
  std::mt19937 random(1);
  for (int i = 0; i < flips; ++i) {
    std::string damaged = file;
    const auto changes = 1 + random() % 3;
    for (std::size_t change = 0; change < changes; ++change) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    open(damaged);
  }
}

/// Reads every byte, so that a sanitizer or the hardware notices one that is not there.
inline unsigned touch(const std::byte* data, std::size_t size) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += static_cast<unsigned>(data[i]);
  return sum;
}

}  // namespace nibble::testing
