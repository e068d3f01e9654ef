// The directory of a zip file that is mapped: where the bytes of each entry lie. Entries that are
// stored as they are (all that PyTorch writes) need no copy. The format: PKWARE's APPNOTE.TXT,
// 4.3 (records) and 4.5.3 (zip64).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nibble/core/mapped_file.h"

namespace nibble {

class ZipArchive {
 public:
  /// Whether the file begins as a zip file does.
  static bool is_one(const MappedFile& file);

  /// Reads the directory of `file`, which must outlive this. Throws Error naming the file and the
  /// entry: a cut file, an entry outside of the file, two of one name, archives of several disks.
  explicit ZipArchive(const MappedFile& file);

  const std::vector<std::string_view>& names() const { return names_; }
  bool contains(std::string_view name) const { return entries_.contains(name); }
  /// The bytes of an entry, where they lie in the file. Throws Error if there is none of this name
  /// and if it is compressed or encrypted.
  std::span<const std::byte> bytes(std::string_view name) const;

 private:
  struct Entry {
    std::uint64_t header;  // place of the local header in the file
    std::uint64_t packed;  // bytes in the file ...
    std::uint64_t size;    // ... and of the content
    std::uint16_t method;  // 0: stored
    std::uint16_t flags;   // bit 0: encrypted
  };
  struct Directory {
    std::uint64_t begin;
    std::uint64_t end;
    std::uint64_t count;
  };

  template <typename T>
  T read(std::uint64_t at, std::string_view what) const;
  Directory find_directory() const;
  std::uint64_t find_end_record() const;
  std::uint64_t read_entry(std::uint64_t at);
  void read_zip64(std::uint64_t at, std::uint64_t end, Entry& entry) const;

  std::string origin_;
  std::span<const std::byte> file_;
  std::vector<std::string_view> names_;  // in the order of the directory
  std::unordered_map<std::string_view, Entry> entries_;
};

}  // namespace nibble
