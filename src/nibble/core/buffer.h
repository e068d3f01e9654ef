// Memory for weights, caches and activations: aligned, not touched until used.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace nibble {

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

/// Whether the system gives huge pages to memory that asks for them.
bool has_huge_pages();

/// Zeroed memory straight from the operating system, aligned to a page, from 2 MiB on (kHuge) to a
/// huge one. Pages cost nothing until they are first written, so that a cache may be as long as a
/// model's whole context; the thread that writes a page first owns it on a machine with several
/// memory nodes.
class Buffer {
 public:
  Buffer() = default;
  /// kHuge: pages of 2 MiB where the system allows them.
  enum class Pages { kSmall, kHuge };
  /// Throws Error if the address space or memory is not to be had.
  explicit Buffer(std::size_t bytes, Pages pages = Pages::kHuge);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

  /// The memory as an array of T, at least `count` long: grown first if it is shorter, its content
  /// then lost. Throws Error if there is no memory.
  template <typename T>
  T* as(std::size_t count) {
    if (count * sizeof(T) > size_) grow(count * sizeof(T));
    return reinterpret_cast<T*>(data_);
  }

 private:
  void grow(std::size_t bytes);

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Many pieces of memory close together, so that small ones lie in huge pages too. Given back all
/// at once.
class Arena {
 public:
  /// A piece of `bytes`, aligned to a cache line, that nobody has touched yet. Throws Error if
  /// there is no memory.
  std::byte* take(std::size_t bytes);

 private:
  std::vector<Buffer> chunks_;
  std::size_t used_ = 0;  // of the last chunk
};

}  // namespace nibble
