// A file mapped read-only into memory. Pages come in as they are touched; the page cache is shared
// with every other process that maps the same file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>

namespace nibble {

class MappedFile {
 public:
  MappedFile() = default;
  /// Maps the whole of a regular file (an empty file gives empty bytes()). Throws Error if it
  /// cannot be opened, is not a regular file, cannot be mapped, or is a Git LFS pointer: what a
  /// clone without git-lfs has in place of a large file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::size_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

  /// Whether all of `part` lies in bytes().
  bool contains(std::span<const std::byte> part) const;

  /// Gives back the memory of a part that will not be read again soon (whole pages inside it), so
  /// that reading a file larger than memory keeps a small resident set. `part` lies in bytes().
  void drop(std::span<const std::byte> part) const;
  /// Says that of a part little will be read, here and there: what is beside it need not come in.
  void expect_scattered_reads(std::span<const std::byte> part) const;

 private:
  void advise(std::span<const std::byte> part, std::initializer_list<int> advice) const;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Whether there is something at `path`. Throws Error for a symbolic link that leads to nothing (a
/// cache whose files are gone), saying where it leads.
bool file_exists(const std::filesystem::path& path);

/// The whole of a small text file. Throws Error if it cannot be read or is larger than `limit`.
std::string read_text_file(const std::filesystem::path& path, std::size_t limit = 1u << 30);

}  // namespace nibble
