// Memory in pages of one size, for caches that grow: pages are counted references, so that several
// caches may hold one, and a page goes back to its pool with the last of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "nibble/core/buffer.h"

namespace nibble {

class PagePool;

/// A reference to a page, or to none. Copies refer to the same page.
class Page {
 public:
  Page() = default;
  Page(const Page& other) : slot_(other.slot_) {
    if (slot_ != nullptr) slot_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Page(Page&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  Page& operator=(Page other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~Page();

  explicit operator bool() const { return slot_ != nullptr; }
  std::byte* data() const { return slot_->data; }
  /// Whether others refer to it too: who wants to write takes a copy then.
  bool is_shared() const { return slot_->references.load(std::memory_order_acquire) > 1; }

 private:
  friend class PagePool;
  struct Slot {
    PagePool* pool = nullptr;
    std::byte* data = nullptr;
    std::atomic<std::int32_t> references{0};
  };
  explicit Page(Slot* slot) : slot_(slot) {}

  Slot* slot_ = nullptr;
};

/// Any thread may take pages and give them back.
class PagePool {
 public:
  /// At most `pages` of `page_bytes` each. Memory is taken from the system some pages at a time,
  /// costs nothing before it is written, and stays here when pages come back.
  PagePool(std::size_t page_bytes, std::int64_t pages);
  /// All pages must have come back.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  std::size_t page_bytes() const { return page_bytes_; }
  std::int64_t pages() const { return pages_; }
  std::int64_t free_pages() const;

  /// A page that nobody else refers to, with whatever it held before; none if all are in use.
  /// Throws Error if the system has no memory.
  Page take();

 private:
  friend class Page;
  void grow();
  void give_back(Page::Slot* slot);

  std::size_t page_bytes_;
  std::int64_t pages_;
  mutable std::mutex mutex_;
  std::int64_t in_use_ = 0;
  std::deque<Buffer> chunks_;      // the memory of some pages each
  std::deque<Page::Slot> slots_;   // one a page that there is memory for; they stay where they are
  std::vector<Page::Slot*> free_;  // the last to come back is the first to go: it is in the cache
};

}  // namespace nibble
