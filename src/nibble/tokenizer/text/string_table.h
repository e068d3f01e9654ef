// Strings by id and ids by string: the vocabulary. All text lies in one block of memory, the index
// is an open hash table of ids; 150,000 tokens load in milliseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::tokenizers {

class StringTable {
 public:
  /// Gives `id` (0 or more, not yet given) its string. A string that is there already is found
  /// under the later id from then on.
  void add(std::int32_t id, std::string_view text);
  void reserve(std::size_t strings, std::size_t bytes);

  /// The id of `text`, or -1.
  std::int32_t find(std::string_view text) const;
  /// The string of `id`; empty where the id has none.
  std::string_view text(std::int32_t id) const;
  bool has(std::int32_t id) const;
  /// The largest id plus one.
  std::int32_t size() const { return static_cast<std::int32_t>(entries_.size()); }
  std::size_t max_bytes() const { return max_bytes_; }

 private:
  struct Entry {
    std::uint64_t begin = kNone;
    std::uint32_t size = 0;
  };
  struct Slot {
    std::uint32_t tag = 0;  // upper half of the hash
    std::int32_t id = -1;
  };
  static constexpr std::uint64_t kNone = ~0ull;

  std::size_t slot_of(std::string_view text, std::uint64_t hash) const;
  void grow(std::size_t slots);

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;  // a power of two, at most two thirds in use
  std::size_t used_ = 0;
  std::size_t max_bytes_ = 0;
};

}  // namespace nibble::tokenizers
