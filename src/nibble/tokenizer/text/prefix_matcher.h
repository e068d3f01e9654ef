// The longest of a set of strings at the front of a text: a trie.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace nibble::tokenizers {

class PrefixMatcher {
 public:
  PrefixMatcher() { roots_.fill(-1); }

  /// `text` is not empty; `value` is 0 or more. Added again, it takes the later value.
  void add(std::string_view text, std::int32_t value);

  struct Match {
    std::size_t length = 0;  // 0: none
    std::int32_t value = -1;
  };
  Match longest(std::string_view text) const;

  /// The first place from `from` on where a string of the set could start (or the text's end).
  std::size_t candidate(std::string_view text, std::size_t from) const;
  bool empty() const { return nodes_.empty(); }

 private:
  struct Node {
    char byte;
    std::int32_t value = -1;
    std::int32_t child = -1;
    std::int32_t sibling = -1;
  };
  std::int32_t child_of(std::int32_t node, char byte) const;

  std::array<std::int32_t, 256> roots_;
  std::vector<Node> nodes_;
};

}  // namespace nibble::tokenizers
