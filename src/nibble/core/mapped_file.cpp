#include "nibble/core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "nibble/core/buffer.h"
#include "nibble/core/error.h"

namespace nibble {
namespace {

/// Closes a file descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: a pointer has less than 1024 bytes.
bool is_lfs_pointer(std::string_view text) {
  return text.size() < 1024 && text.starts_with("version https://git-lfs.github.com/spec/");
}

std::string lfs_size(std::string_view pointer) {
  const std::size_t at = pointer.find("\nsize ");
  if (at == std::string_view::npos) return "unknown size";
  const std::string_view rest = pointer.substr(at + 6);
  const std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  return std::string(rest.substr(0, digits)) + " bytes";
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  file_exists(path);
  // O_NONBLOCK: opening a named pipe must fail below as "not a regular file", not wait for a
  // writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail("{}: {}", path.string(), std::strerror(errno));
  if (!S_ISREG(info.st_mode)) fail("{}: not a regular file", path.string());
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) {
    size_ = 0;
    fail("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
  }
  data_ = static_cast<const std::byte*>(mapped);
  // What is not in the page cache yet comes in as huge pages, where the file system can.
  if (size_ >= kHugePageBytes) ::madvise(mapped, size_, MADV_HUGEPAGE);
  const std::string_view text(static_cast<const char*>(mapped), size_);
  if (!is_lfs_pointer(text)) return;
  const std::string size = lfs_size(text);
  ::munmap(mapped, size_);
  data_ = nullptr;
  fail("{}: is a Git LFS pointer to a file of {}, not the file itself (git lfs pull fetches it)",
       path.string(), size);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

bool MappedFile::contains(std::span<const std::byte> part) const {
  const std::less_equal<> not_after;
  return not_after(data_, part.data()) && not_after(part.data() + part.size(), data_ + size_);
}

void MappedFile::drop(std::span<const std::byte> part) const {
  advise(part, {MADV_DONTNEED});
}

void MappedFile::expect_scattered_reads(std::span<const std::byte> part) const {
  advise(part, {MADV_NOHUGEPAGE, MADV_RANDOM});
}

/// Of the whole pages in a part.
void MappedFile::advise(std::span<const std::byte> part, std::initializer_list<int> advice) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(part.data());
  const std::uintptr_t begin = (first + page - 1) / page * page;
  const std::uintptr_t end = (first + part.size()) / page * page;
  if (begin >= end) return;
  // Only advice: failing costs memory, nothing else.
  for (const int each : advice) ::madvise(reinterpret_cast<void*>(begin), end - begin, each);
}

bool file_exists(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(path, error)) return true;
  if (!fs::is_symlink(path, error)) return false;
  fail("{}: is a broken link: it leads to {}, which is not there", path.string(),
       fs::read_symlink(path, error).string());
}

std::string read_text_file(const std::filesystem::path& path, std::size_t limit) {
  const MappedFile file(path);
  if (file.size() > limit) {
    fail("{}: {} bytes, more than the {} that such a file may have", path.string(), file.size(),
         limit);
  }
  return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

}  // namespace nibble
