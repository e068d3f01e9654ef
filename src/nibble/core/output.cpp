#include "nibble/core/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <system_error>
#include <tuple>

#include "nibble/core/buffer.h"
#include "nibble/core/error.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

/// "dir/.name.partial-<pid>": beside `path`, so that a rename never crosses file systems. A name
/// that would become too long for one is cut; a number that its end gives tells such apart.
fs::path temporary_beside(const fs::path& path) {
  constexpr std::size_t kLongest = 200;  // of 255, and ".old" comes behind
  std::string name = path.filename().string();
  if (name.size() > kLongest) {
    name = fmt::format("{}-{:x}", name.substr(0, kLongest - 20), std::hash<std::string>{}(name));
  }
  return path.parent_path() / fmt::format(".{}.partial-{}", name, ::getpid());
}

/// The folder that `path` leads to, so that filename() is its own name and a link to it stays when
/// it is replaced.
fs::path folder_path(const fs::path& path) {
  std::error_code error;
  if (fs::path real = fs::canonical(path, error); !error) return real;
  return path.has_filename() ? path : path.parent_path();  // without a trailing slash
}

/// The temporary name may be short where this one is too long: that is to be said before all work.
void require_name(const fs::path& path) {
  if (path.empty()) fail("the name of the output is empty");
  std::error_code error;
  std::ignore = fs::symlink_status(path, error);
  if (error == std::errc::filename_too_long) {
    fail("{}: cannot be written: {}", path.string(), error.message());
  }
}

/// What `path` leads to if it is a symbolic link, so that the link stays when the file is replaced.
fs::path link_target(const fs::path& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error)) return path;
  const fs::path target = fs::canonical(path, error);
  if (error) fail("{}: is a broken link: {}", path.string(), error.message());
  return target;
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // the rename has happened; only its durability is at stake
  ::fsync(fd);
  ::close(fd);
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) fail("{}: cannot be put in its place: {}", to.string(), error.message());
}

}  // namespace

OutputFile::OutputFile(const fs::path& path)
    : path_(link_target(path)), temporary_(temporary_beside(path_)) {
  require_name(path);
  std::error_code ignored;
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status)) fail("{}: is a folder, expected a file to write", path.string());
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    fail("{}: is not a regular file, so it is not replaced", path.string());  // /dev/null, a pipe
  }
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("{}: cannot be written: {}", path.string(), std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void OutputFile::reserve(std::uint64_t bytes) {
  const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    fail("{}: no room for its {} bytes: {}", path_.string(), bytes, std::strerror(error));
  }
}

void OutputFile::write(std::span<const std::byte> bytes) {
  written_ += bytes.size();
  if (!pending_.empty()) {
    const auto first = bytes.first(std::min(bytes.size(), kHugePageBytes - pending_.size()));
    pending_.insert(pending_.end(), first.begin(), first.end());
    bytes = bytes.subspan(first.size());
    if (pending_.size() < kHugePageBytes) return;
    write_now(pending_);
    pending_.clear();
  }
  const std::size_t whole = bytes.size() / kHugePageBytes * kHugePageBytes;
  write_now(bytes.first(whole));
  const auto rest = bytes.subspan(whole);
  pending_.assign(rest.begin(), rest.end());
}

void OutputFile::write_now(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("{}: writing failed: {}", path_.string(), std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void OutputFile::commit() {
  write_now(pending_);
  // posix_fallocate may have made the file longer than what was written.
  const bool good = ::ftruncate(fd_, static_cast<off_t>(written_)) == 0 && ::fsync(fd_) == 0;
  if (!good) fail("{}: writing failed: {}", path_.string(), std::strerror(errno));
  ::close(fd_);
  fd_ = -1;
  std::error_code error;
  fs::rename(temporary_, path_, error);
  if (error) {
    ::unlink(temporary_.c_str());
    fail("{}: cannot be put in its place: {}", path_.string(), error.message());
  }
  sync_folder(path_.parent_path());
}

OutputFolder::OutputFolder(const fs::path& path, bool replace)
    : path_(folder_path(path)), temporary_(temporary_beside(path_)) {
  require_name(path);
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path_, error);
  if (fs::exists(status)) {
    if (!replace) fail("{}: exists already (--force replaces it)", path_.string());
    const bool replaceable = fs::is_directory(status) && (fs::is_empty(path_, error) ||
                                                          fs::exists(path_ / "config.json", error));
    if (!replaceable) {
      fail("{}: is not a model folder (no config.json), so it is not replaced", path_.string());
    }
  }
  fs::remove_all(temporary_, error);
  if (!fs::create_directory(temporary_, error)) {
    fail("{}: cannot be created: {}", path_.string(), error.message());
  }
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void OutputFolder::commit() {
  sync_folder(temporary_);
  const fs::path old = temporary_.string() + ".old";
  std::error_code error;
  const bool replaces = fs::exists(fs::symlink_status(path_, error));
  if (replaces) rename_or_fail(path_, old);
  fs::rename(temporary_, path_, error);
  if (error) {
    std::error_code ignored;
    if (replaces) fs::rename(old, path_, ignored);
    fail("{}: cannot be put in its place: {}", path_.string(), error.message());
  }
  temporary_.clear();
  fs::remove_all(old, error);
  sync_folder(path_.parent_path());
}

void check_not_model(const fs::path& model, const fs::path& out) {
  if (out.empty()) return;  // refused where it is opened
  const fs::path from = fs::weakly_canonical(model);
  const fs::path to = fs::weakly_canonical(out);
  const auto [inner, outer] = std::mismatch(from.begin(), from.end(), to.begin(), to.end());
  // What reads a folder does not read GGUF files in it: one may be an export of before.
  const bool is_file_of_it =
      inner == from.end() && fs::is_regular_file(to) && to.extension() != ".gguf";
  if (outer == to.end() || is_file_of_it) {
    fail("{}: the output would replace the model that is read, {}; expected another place",
         out.string(), model.string());
  }
}

}  // namespace nibble
