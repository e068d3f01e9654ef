// Byte-pair merging: pairs of neighbouring symbols become one, the pair of the lowest rank first,
// the leftmost among equals. A heap of candidates makes it O(n log n): a "word" may be a whole
// book.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nibble::tokenizers {

/// A stretch of the text under way; `id` names it in the merge table.
struct Symbol {
  std::int32_t id;
  std::uint32_t begin;   // byte in the word
  std::uint32_t length;  // bytes; 0: merged into the symbol before
  std::int32_t previous = -1;
  std::int32_t next = -1;
};

struct MergeCandidate {
  std::uint32_t rank;
  std::int32_t left;  // index of the left symbol
  std::int32_t left_id;
  std::int32_t right_id;
  std::int32_t result;
};

/// For each result of a candidate, the latest pair that could give it.
using MergeHistory = std::unordered_map<std::int32_t, std::pair<std::int32_t, std::int32_t>>;

/// Memory that merging needs; keep it between calls.
struct MergeScratch {
  std::vector<Symbol> symbols;
  std::vector<MergeCandidate> heap;
};

class MergeTable {
 public:
  struct Merge {
    std::int32_t left = -1;
    std::int32_t right = -1;
    std::uint32_t rank = 0;
    std::int32_t result = -1;
  };

  void reserve(std::size_t merges);
  /// Lets `left` and `right` (ids, 0 or more) become `result`. A pair added again takes the later
  /// rank and result.
  void add(const Merge& merge);
  const Merge* find(std::int32_t left, std::int32_t right) const;

  /// Merges `scratch.symbols` (all of them linked in order here) as far as it goes. What is left
  /// has a length above 0. `history`, if given, is filled.
  void apply(MergeScratch& scratch, MergeHistory* history = nullptr) const;

  /// All merges by rank.
  std::vector<Merge> sorted() const;

 private:
  std::size_t slot_of(std::int32_t left, std::int32_t right) const;
  void push(MergeScratch& scratch, std::int32_t left, MergeHistory* history) const;

  std::vector<Merge> slots_;  // a power of two, at most two thirds in use
  std::size_t used_ = 0;
};

}  // namespace nibble::tokenizers
