#include "nibble/core/buffer.h"

#include <sys/mman.h>

#include <cerrno>
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

Buffer::Buffer(std::size_t bytes, Pages pages) : size_(bytes) {
  if (bytes == 0) return;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("cannot get {} bytes of memory: {}", bytes, std::strerror(errno));
  if (bytes >= kHugePageBytes) {  // only advice
    ::madvise(memory, bytes, pages == Pages::kHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }
  data_ = static_cast<std::byte*>(memory);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void Buffer::grow(std::size_t bytes) {
  *this = Buffer();  // given back first: old and new need not exist together
  *this = Buffer(bytes + bytes / 4);
}

}  // namespace nibble
