#include "nibble/core/scratch_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "nibble/core/error.h"

namespace nibble {
namespace {

/// A file that no folder lists. Where the file system has none such, one is made and removed.
int open_unnamed(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  std::string name = (folder / ".scratch-XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder, std::uint64_t bytes)
    : folder_(folder), fd_(open_unnamed(folder)) {
  if (fd_ < 0) {
    fail("{}: no temporary file can be made there: {}", folder.string(), std::strerror(errno));
  }
  const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  if (error == 0) return;
  ::close(fd_);
  fail("{}: no room for a temporary file of {} bytes: {}", folder.string(), bytes,
       std::strerror(error));
}

ScratchFile::~ScratchFile() {
  if (fd_ >= 0) ::close(fd_);
}

void ScratchFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      fail("{}: cannot write a temporary file there: {}", folder_.string(), std::strerror(errno));
    }
    offset += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void ScratchFile::read_at(std::uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      fail("{}: cannot read a temporary file there: {}", folder_.string(),
           count == 0 ? "it ends too soon" : std::strerror(errno));
    }
    offset += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace nibble
