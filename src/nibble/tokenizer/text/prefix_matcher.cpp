#include "nibble/tokenizer/text/prefix_matcher.h"

namespace nibble::tokenizers {

std::int32_t PrefixMatcher::child_of(std::int32_t node, char byte) const {
  std::int32_t child = nodes_[static_cast<std::size_t>(node)].child;
  while (child >= 0 && nodes_[static_cast<std::size_t>(child)].byte != byte) {
    child = nodes_[static_cast<std::size_t>(child)].sibling;
  }
  return child;
}

void PrefixMatcher::add(std::string_view text, std::int32_t value) {
  const auto new_node = [&](char byte) {
    nodes_.push_back({byte});
    return static_cast<std::int32_t>(nodes_.size() - 1);
  };
  std::int32_t& root = roots_[static_cast<unsigned char>(text[0])];
  if (root < 0) root = new_node(text[0]);
  std::int32_t node = root;
  for (const char byte : text.substr(1)) {
    std::int32_t child = child_of(node, byte);
    if (child < 0) {
      child = new_node(byte);
      Node& parent = nodes_[static_cast<std::size_t>(node)];
      nodes_[static_cast<std::size_t>(child)].sibling = parent.child;
      parent.child = child;
    }
    node = child;
  }
  nodes_[static_cast<std::size_t>(node)].value = value;
}

PrefixMatcher::Match PrefixMatcher::longest(std::string_view text) const {
  Match best;
  if (text.empty()) return best;
  std::int32_t node = roots_[static_cast<unsigned char>(text[0])];
  for (std::size_t length = 1; node >= 0; ++length) {
    const std::int32_t value = nodes_[static_cast<std::size_t>(node)].value;
    if (value >= 0) best = {length, value};
    if (length == text.size()) break;
    node = child_of(node, text[length]);
  }
  return best;
}

std::size_t PrefixMatcher::candidate(std::string_view text, std::size_t from) const {
  if (nodes_.empty()) return text.size();
  while (from < text.size() && roots_[static_cast<unsigned char>(text[from])] < 0) ++from;
  return from;
}

}  // namespace nibble::tokenizers
