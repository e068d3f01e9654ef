#include "nibble/core/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include "nibble/core/error.h"

namespace nibble {

bool has_huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");  // "always [madvise] never"
  std::string modes;
  std::getline(file, modes);
  return modes.find("[always]") != std::string::npos ||
         modes.find("[madvise]") != std::string::npos;
}

namespace {

std::byte* map_memory(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("cannot get {} bytes of memory: {}", bytes, std::strerror(errno));
  return static_cast<std::byte*>(memory);
}

/// The same from a huge page's start on: more is mapped, and what is over given back.
std::byte* map_from_huge_page(std::size_t bytes) {
  constexpr std::size_t kSmallPage = 4096;
  if (bytes > SIZE_MAX - 2 * kHugePageBytes) fail("cannot get {} bytes of memory", bytes);
  bytes = (bytes + kSmallPage - 1) / kSmallPage * kSmallPage;
  std::byte* memory = map_memory(bytes + kHugePageBytes);
  const std::size_t past = reinterpret_cast<std::uintptr_t>(memory) % kHugePageBytes;
  const std::size_t before = (kHugePageBytes - past) % kHugePageBytes;
  if (before > 0) ::munmap(memory, before);
  ::munmap(memory + before + bytes, kHugePageBytes - before);
  return memory + before;
}

}  // namespace

Buffer::Buffer(std::size_t bytes, Pages pages) : size_(bytes) {
  if (bytes == 0) return;
  if (bytes < kHugePageBytes) {
    data_ = map_memory(bytes);
    return;
  }
  const bool huge = pages == Pages::kHuge;
  data_ = huge ? map_from_huge_page(bytes) : map_memory(bytes);
  ::madvise(data_, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);  // only advice
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void Buffer::grow(std::size_t bytes) {
  *this = Buffer();  // given back first: old and new need not exist together
  *this = Buffer(bytes + bytes / 4);
}

std::byte* Arena::take(std::size_t bytes) {
  constexpr std::size_t kChunk = std::size_t{256} << 20;  // of addresses: what is used costs memory
  constexpr std::size_t kLine = 64;
  bytes = (bytes + kLine - 1) / kLine * kLine;
  if (chunks_.empty() || chunks_.back().size() - used_ < bytes) {
    chunks_.emplace_back(std::max(bytes, kChunk));
    used_ = 0;
  }
  std::byte* piece = chunks_.back().data() + used_;
  used_ += bytes;
  return piece;
}

}  // namespace nibble
