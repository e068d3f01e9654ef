// Memory that ends right before a page nobody may touch, so that a kernel that reads or writes past
// its operands crashes even where it uses masks that sanitizers do not see.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>

namespace nibble::test {

template <typename Element>
class GuardedBuffer {
 public:
  /// `size` elements, zero; the last one ends at the guard page.
  explicit GuardedBuffer(std::size_t size) : size_(size) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = size * sizeof(Element);
    mapped_ = (bytes + page - 1) / page * page + page;
    void* memory =
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap failed");
    base_ = static_cast<std::byte*>(memory);
    mprotect(base_ + mapped_ - page, page, PROT_NONE);
    data_ = reinterpret_cast<Element*>(base_ + mapped_ - page - bytes);
  }
  ~GuardedBuffer() {
    if (base_ != nullptr) munmap(base_, mapped_);
  }
  GuardedBuffer(GuardedBuffer&& other) noexcept
      : base_(other.base_), mapped_(other.mapped_), data_(other.data_), size_(other.size_) {
    other.base_ = nullptr;
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(GuardedBuffer&&) = delete;

  Element* data() { return data_; }
  const Element* data() const { return data_; }
  std::size_t size() const { return size_; }
  Element& operator[](std::size_t i) { return data_[i]; }
  const Element& operator[](std::size_t i) const { return data_[i]; }
  std::span<Element> span() { return {data_, size_}; }

 private:
  std::byte* base_;
  std::size_t mapped_;
  Element* data_;
  std::size_t size_;
};

}  // namespace nibble::test
