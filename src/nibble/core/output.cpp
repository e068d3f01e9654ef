#include "nibble/core/output.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "nibble/core/error.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

/// ".name.partial-", which a process's number follows. A name that would become too long for one is
/// cut; a number that its end gives tells such apart.
std::string temporary_prefix(const fs::path& path) {
  constexpr std::size_t kLongest = 200;  // of 255, and ".old" comes behind
  std::string name = path.filename().string();
  if (name.size() > kLongest) {
    name = fmt::format("{}-{:x}", name.substr(0, kLongest - 20), std::hash<std::string>{}(name));
  }
  return fmt::format(".{}.partial-", name);
}

/// Beside `path`, so that a rename never crosses file systems.
fs::path temporary_beside(const fs::path& path) {
  return path.parent_path() / fmt::format("{}{}", temporary_prefix(path), ::getpid());
}

/// Temporary output for `path`, the newest first.
std::vector<fs::path> find_temporaries(const fs::path& path) {
  const std::string prefix = temporary_prefix(path);
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  std::error_code error;
  const fs::path folder = path.parent_path().empty() ? "." : path.parent_path();
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool is_one = name.starts_with(prefix) && name.size() > prefix.size() &&
                        name.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
    if (is_one) found.emplace_back(entry.last_write_time(error), entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<fs::path> paths;
  for (auto& [time, temporary] : found) paths.push_back(std::move(temporary));
  return paths;
}

/// Locks what a living process writes, so that no other takes it for a leftover.
bool lock(int fd) {
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0;
}

[[noreturn]] void fail_as_written(const fs::path& path, const fs::path& temporary) {
  fail("{}: is being written by another process (as {}); expected it to end first", path.string(),
       temporary.filename().string());
}

/// Temporary output that is open and locked; -1 if it is gone or another's.
int open_leftover(const fs::path& found) {
  const int fd = ::open(found.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 || errno != EISDIR) return fd;
  return ::open(found.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/// Throws Error if a living process writes `path`. Gives the newest temporary output for it that
/// nobody holds the name `temporary` if that is asked for, and opens it; -1 if there is none.
int find_leftover(const fs::path& path, const fs::path& temporary, Leftover leftover) {
  int taken = -1;
  for (const fs::path& found : find_temporaries(path)) {
    const int fd = open_leftover(found);
    if (fd < 0) continue;
    const bool is_left = lock(fd);
    const bool is_held = !is_left && errno == EWOULDBLOCK;
    std::error_code error;
    const bool takes = is_left && leftover == Leftover::kTake && taken < 0;
    if (takes) fs::rename(found, temporary, error);
    if (takes && !error) {
      taken = fd;
    } else {
      ::close(fd);
    }
    if (!is_held) continue;
    if (taken >= 0) ::close(taken);
    fail_as_written(path, found);
  }
  return taken;
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

OutputFile::OutputFile(const fs::path& path, Leftover leftover)
    : path_(link_target(path)), temporary_(temporary_beside(path_)) {
  require_name(path);
  std::error_code ignored;
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status)) fail("{}: is a folder, expected a file to write", path.string());
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    fail("{}: is not a regular file, so it is not replaced", path.string());  // /dev/null, a pipe
  }
  fd_ = find_leftover(path_, temporary_, leftover);
  if (fd_ >= 0) return;
  fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("{}: cannot be written: {}", path.string(), std::strerror(errno));
  const bool is_free = lock(fd_) || errno != EWOULDBLOCK;
  if (is_free && ::ftruncate(fd_, 0) == 0) return;
  ::close(fd_);
  fail_as_written(path_, temporary_);
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  if (!is_kept_) ::unlink(temporary_.c_str());
  ::close(fd_);
}

void OutputFile::reserve(std::uint64_t bytes) {
  const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    fail("{}: no room for its {} bytes: {}", path_.string(), bytes, std::strerror(error));
  }
}

void OutputFile::write(std::span<const std::byte> bytes) {
  write_at(written_, bytes);
  written_ += bytes.size();
}

void OutputFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("{}: writing failed: {}", path_.string(), std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

std::size_t OutputFile::read_at(std::uint64_t offset, std::span<std::byte> bytes) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        ::pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count == 0) break;
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("{}: reading failed: {}", temporary_.string(), std::strerror(errno));
    }
    done += static_cast<std::size_t>(count);
  }
  return done;
}

void OutputFile::sync() {
  if (::fdatasync(fd_) != 0) fail("{}: writing failed: {}", path_.string(), std::strerror(errno));
}

void OutputFile::commit(std::uint64_t bytes) {
  // What takes long comes first: until the next line a killed process leaves all that it had. The
  // file may be longer than what is to stay, by posix_fallocate or by notes of who writes it.
  sync();
  const bool good = ::ftruncate(fd_, static_cast<off_t>(bytes)) == 0 && ::fsync(fd_) == 0;
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

OutputFolder::OutputFolder(const fs::path& path, bool replace, Leftover leftover)
    : path_(folder_path(path)), temporary_(temporary_beside(path_)), replace_(replace) {
  require_name(path);
  require_replaceable();
  fd_ = find_leftover(path_, temporary_, leftover);
  if (fd_ >= 0) return;
  std::error_code error;
  fs::remove_all(temporary_, error);
  if (!fs::create_directory(temporary_, error)) {
    fail("{}: cannot be created: {}", path_.string(), error.message());
  }
  fd_ = ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ >= 0) lock(fd_);
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty() && !is_kept_) fs::remove_all(temporary_, ignored);
  if (fd_ >= 0) ::close(fd_);
}

/// Throws Error if something stands in the folder's place that is to stay there.
void OutputFolder::require_replaceable() const {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path_, error);
  if (!fs::exists(status)) return;
  if (!replace_) fail("{}: exists already (--force replaces it)", path_.string());
  const bool replaceable = fs::is_directory(status) &&
                           (fs::is_empty(path_, error) || fs::exists(path_ / "config.json", error));
  if (!replaceable) {
    fail("{}: is not a model folder (no config.json), so it is not replaced", path_.string());
  }
}

void OutputFolder::commit() {
  require_replaceable();  // it may have come meanwhile
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
