// Output that appears whole or not at all: written under a temporary name beside its place, synced,
// and renamed by commit(). Destroyed without commit() (an error, Ctrl-C), it leaves nothing behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

/// A file written from front to back. It reaches the system in stretches of 2 MiB, so that the page
/// cache holds it in huge pages, where the file system can: whoever maps it reads it quicker.
class OutputFile {
 public:
  /// Throws Error if `path` is a folder or its folder cannot be written. An existing file is
  /// replaced by commit(), and untouched until then.
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Takes the disk space for `bytes` in all at once, so that a full disk is found before the work.
  void reserve(std::uint64_t bytes);
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  std::uint64_t bytes_written() const { return written_; }

  /// Syncs the file to disk and gives it its name.
  void commit();

 private:
  void write_now(std::span<const std::byte> bytes);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::uint64_t written_ = 0;
  std::vector<std::byte> pending_;  // the last of them, less than a stretch
  int fd_ = -1;
};

/// A folder of files.
class OutputFolder {
 public:
  /// Throws Error if `path` exists and `replace` is false, or if `replace` is true and `path` is
  /// a folder that is neither empty nor a model's (has no config.json): too much to lose by a typo.
  OutputFolder(const std::filesystem::path& path, bool replace);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  /// Where to write the files until commit().
  const std::filesystem::path& temporary() const { return temporary_; }

  /// Syncs the folder and gives it its name, in place of what stood there.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
};

/// Throws Error if `out` would take the place of the model that is read (`nibble quantize M -o M`),
/// or of a folder that it is in.
void check_not_model(const std::filesystem::path& model, const std::filesystem::path& out);

}  // namespace nibble
