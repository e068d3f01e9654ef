#include "nibble/tokenizer/text/string_table.h"

#include <algorithm>
#include <bit>

#include "nibble/tokenizer/text/hash.h"

namespace nibble::tokenizers {

void StringTable::reserve(std::size_t strings, std::size_t bytes) {
  arena_.reserve(bytes);
  entries_.reserve(strings);
  grow(std::bit_ceil(strings * 3 / 2 + 16));
}

std::size_t StringTable::slot_of(std::string_view text, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  std::size_t slot = hash & mask;
  while (slots_[slot].id >= 0 && (slots_[slot].tag != tag || this->text(slots_[slot].id) != text)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void StringTable::grow(std::size_t slots) {
  if (slots <= slots_.size()) return;
  std::vector<Slot> old(slots);
  old.swap(slots_);
  for (const Slot& entry : old) {
    if (entry.id < 0) continue;
    const std::string_view key = text(entry.id);
    slots_[slot_of(key, hash_bytes(key))] = entry;
  }
}

void StringTable::add(std::int32_t id, std::string_view text) {
  if (used_ * 3 >= slots_.size() * 2) grow(std::max<std::size_t>(64, slots_.size() * 2));
  const auto index = static_cast<std::size_t>(id);
  if (index >= entries_.size()) entries_.resize(index + 1);
  const std::uint64_t hash = hash_bytes(text);
  Slot& slot = slots_[slot_of(text, hash)];
  used_ += slot.id < 0;
  slot = {static_cast<std::uint32_t>(hash >> 32), id};
  entries_[index] = {arena_.size(), static_cast<std::uint32_t>(text.size())};
  arena_ += text;
  max_bytes_ = std::max(max_bytes_, text.size());
}

std::int32_t StringTable::find(std::string_view text) const {
  if (slots_.empty() || text.size() > max_bytes_) return -1;
  return slots_[slot_of(text, hash_bytes(text))].id;
}

bool StringTable::has(std::int32_t id) const {
  return id >= 0 && id < size() && entries_[static_cast<std::size_t>(id)].begin != kNone;
}

std::string_view StringTable::text(std::int32_t id) const {
  if (!has(id)) return {};
  const Entry& entry = entries_[static_cast<std::size_t>(id)];
  return std::string_view(arena_).substr(entry.begin, entry.size);
}

}  // namespace nibble::tokenizers
