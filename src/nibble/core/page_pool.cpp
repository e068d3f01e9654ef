#include "nibble/core/page_pool.h"

#include <algorithm>
#include <cassert>

namespace nibble {
namespace {

// Asked of the system at a time, a page at least: enough for huge pages to hold all but the edges.
constexpr std::size_t kChunkBytes = std::size_t{64} << 20;

}  // namespace

Page::~Page() {
  if (slot_ == nullptr) return;
  if (slot_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    slot_->pool->give_back(slot_);
  }
}

PagePool::PagePool(std::size_t page_bytes, std::int64_t pages)
    : page_bytes_(page_bytes), pages_(pages) {
  assert(page_bytes > 0 && pages >= 0);
}

PagePool::~PagePool() {
  assert(in_use_ == 0);
}

std::int64_t PagePool::free_pages() const {
  const std::lock_guard lock(mutex_);
  return pages_ - in_use_;
}

Page PagePool::take() {
  const std::lock_guard lock(mutex_);
  if (in_use_ == pages_) return {};
  if (free_.empty()) grow();
  Page::Slot* slot = free_.back();
  free_.pop_back();
  slot->references.store(1, std::memory_order_relaxed);
  ++in_use_;
  return Page(slot);
}

void PagePool::grow() {
  const auto left = static_cast<std::size_t>(pages_) - slots_.size();
  const std::size_t count = std::min(left, std::max<std::size_t>(1, kChunkBytes / page_bytes_));
  free_.reserve(slots_.size() + count);  // so that no page that comes back needs memory
  chunks_.emplace_back(count * page_bytes_);
  std::byte* end = chunks_.back().data() + count * page_bytes_;
  for (std::size_t i = 0; i < count; ++i) {  // the first page comes last, and goes first
    Page::Slot& slot = slots_.emplace_back();
    slot.pool = this;
    slot.data = end -= page_bytes_;
    free_.push_back(&slot);
  }
}

void PagePool::give_back(Page::Slot* slot) {
  const std::lock_guard lock(mutex_);
  free_.push_back(slot);
  --in_use_;
}

}  // namespace nibble
