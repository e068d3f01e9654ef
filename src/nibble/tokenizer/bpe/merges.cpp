#include "nibble/tokenizer/bpe/merges.h"

#include <algorithm>
#include <bit>
#include <tuple>

#include "nibble/tokenizer/text/hash.h"

namespace nibble::tokenizers {
namespace {

/// The heap's top is the candidate of the lowest rank, the leftmost of those.
bool after(const MergeCandidate& a, const MergeCandidate& b) {
  return std::tie(a.rank, a.left) > std::tie(b.rank, b.left);
}

}  // namespace

std::size_t MergeTable::slot_of(std::int32_t left, std::int32_t right) const {
  const std::size_t mask = slots_.size() - 1;
  const auto key = static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  std::size_t slot = mix_hash(key) & mask;
  while (slots_[slot].left >= 0 && (slots_[slot].left != left || slots_[slot].right != right)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void MergeTable::reserve(std::size_t merges) {
  const std::size_t slots = std::bit_ceil(merges * 3 / 2 + 16);
  if (slots <= slots_.size()) return;
  std::vector<Merge> old(slots);
  old.swap(slots_);
  for (const Merge& merge : old) {
    if (merge.left >= 0) slots_[slot_of(merge.left, merge.right)] = merge;
  }
}

void MergeTable::add(const Merge& merge) {
  if (used_ * 3 >= slots_.size() * 2) reserve(used_ * 2);
  Merge& slot = slots_[slot_of(merge.left, merge.right)];
  used_ += slot.left < 0;
  slot = merge;
}

const MergeTable::Merge* MergeTable::find(std::int32_t left, std::int32_t right) const {
  if (slots_.empty()) return nullptr;
  const Merge& slot = slots_[slot_of(left, right)];
  return slot.left < 0 ? nullptr : &slot;
}

void MergeTable::push(MergeScratch& scratch, std::int32_t left, MergeHistory* history) const {
  if (left < 0) return;
  const Symbol& symbol = scratch.symbols[static_cast<std::size_t>(left)];
  if (symbol.next < 0 || symbol.id < 0) return;
  const std::int32_t right_id = scratch.symbols[static_cast<std::size_t>(symbol.next)].id;
  const Merge* merge = right_id < 0 ? nullptr : find(symbol.id, right_id);
  if (!merge) return;
  scratch.heap.push_back({merge->rank, left, symbol.id, right_id, merge->result});
  if (history) (*history)[merge->result] = {symbol.id, right_id};
}

void MergeTable::apply(MergeScratch& scratch, MergeHistory* history) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  heap.clear();
  const auto count = static_cast<std::int32_t>(symbols.size());
  for (std::int32_t i = 0; i < count; ++i) {
    symbols[static_cast<std::size_t>(i)].previous = i - 1;
    symbols[static_cast<std::size_t>(i)].next = i + 1 < count ? i + 1 : -1;
  }
  for (std::int32_t i = 0; i < count; ++i) push(scratch, i, history);
  std::make_heap(heap.begin(), heap.end(), after);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), after);
    const MergeCandidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[static_cast<std::size_t>(top.left)];
    if (left.length == 0 || left.next < 0 || left.id != top.left_id) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    if (right.id != top.right_id) continue;  // outdated: a neighbour has merged since
    left.id = top.result;
    left.length += right.length;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = top.left;
    for (const std::int32_t i : {left.previous, top.left}) {
      const std::size_t before = heap.size();
      push(scratch, i, history);
      if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), after);
    }
  }
}

std::vector<MergeTable::Merge> MergeTable::sorted() const {
  std::vector<Merge> merges;
  merges.reserve(used_);
  std::copy_if(slots_.begin(), slots_.end(), std::back_inserter(merges),
               [](const Merge& merge) { return merge.left >= 0; });
  std::sort(merges.begin(), merges.end(),
            [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
  return merges;
}

}  // namespace nibble::tokenizers
