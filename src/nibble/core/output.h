// Output that appears whole or not at all: written under a temporary name beside its place, synced,
// and renamed by commit(). Destroyed without commit() (an error, Ctrl-C), it leaves nothing behind
// but what keep() was called for. A process that is killed leaves what it had; whoever asks for it
// goes on with that. While one process writes an output, others are refused the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace nibble {

/// What to do with the temporary output for the same place of a process that is no more.
enum class Leftover { kLeave, kTake };

/// A file written from front to back, or in any order.
class OutputFile {
 public:
  /// Throws Error if `path` is a folder, if its folder cannot be written or if it is being written
  /// already. An existing file is replaced by commit(), and untouched until then.
  explicit OutputFile(const std::filesystem::path& path, Leftover leftover = Leftover::kLeave);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Takes the disk space for `bytes` in all at once, so that a full disk is found before the work.
  void reserve(std::uint64_t bytes);
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// What write() has written.
  std::uint64_t bytes_written() const { return written_; }
  /// Writes `bytes` at `offset`, and moves nothing that write() goes by.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Reads what was written, or left; gives how many bytes there were.
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> bytes) const;
  /// Makes sure that what was written outlasts the machine too.
  void sync();
  /// Where the file is until commit().
  const std::filesystem::path& temporary() const { return temporary_; }
  /// What is written so far stays when this is destroyed, for whoever asks for it.
  void keep() { is_kept_ = true; }

  /// Syncs the file to disk and gives it its name. Its size is what write() wrote, or `bytes`.
  void commit() { commit(written_); }
  void commit(std::uint64_t bytes);

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::uint64_t written_ = 0;
  bool is_kept_ = false;
  int fd_ = -1;  // locked as long as this process is there
};

/// A folder of files.
class OutputFolder {
 public:
  /// Throws Error if `path` is being written already, if it exists and `replace` is false, or if
  /// `replace` is true and `path` is a folder that is neither empty nor a model's (has no
  /// config.json): too much to lose by a typo.
  OutputFolder(const std::filesystem::path& path, bool replace,
               Leftover leftover = Leftover::kLeave);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  /// Where to write the files until commit().
  const std::filesystem::path& temporary() const { return temporary_; }
  /// What is in the folder stays when this is destroyed, for whoever asks for it.
  void keep() { is_kept_ = true; }

  /// Syncs the folder and gives it its name, in place of what stood there.
  void commit();

 private:
  void require_replaceable() const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  bool replace_;
  bool is_kept_ = false;
  int fd_ = -1;  // locked as long as this process is there
};

/// Throws Error if `out` would take the place of the model that is read (`nibble quantize M -o M`),
/// or of a folder that it is in.
void check_not_model(const std::filesystem::path& model, const std::filesystem::path& out);

}  // namespace nibble
