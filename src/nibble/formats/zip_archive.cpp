#include "nibble/formats/zip_archive.h"

#include <cstring>

#include "nibble/core/error.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kDirectoryEntry = 0x02014b50;
constexpr std::uint32_t kEndRecord = 0x06054b50;
constexpr std::uint32_t kZip64Locator = 0x07064b50;
constexpr std::uint32_t kZip64EndRecord = 0x06064b50;
constexpr std::uint16_t kZip64Field = 1;

// Bytes of each record without what follows it (names, comments, extra fields).
constexpr std::uint64_t kLocalHeaderBytes = 30;
constexpr std::uint64_t kDirectoryEntryBytes = 46;
constexpr std::uint64_t kEndRecordBytes = 22;
constexpr std::uint64_t kZip64LocatorBytes = 20;

constexpr std::uint32_t kSeeZip64 = 0xffffffff;

}  // namespace

template <typename T>
T ZipArchive::read(std::uint64_t at, std::string_view what) const {
  if (at > file_.size() || sizeof(T) > file_.size() - at) {
    fail("{}: cut off in {}: the file has {} bytes", origin_, what, file_.size());
  }
  T value;
  std::memcpy(&value, file_.data() + at, sizeof value);
  return value;
}

bool ZipArchive::is_one(const MappedFile& file) {
  std::uint32_t signature = 0;
  if (file.size() < sizeof signature) return false;
  std::memcpy(&signature, file.bytes().data(), sizeof signature);
  return signature == kLocalHeader || signature == kEndRecord;
}

/// The record that ends the file, before a comment of up to 64 KiB.
std::uint64_t ZipArchive::find_end_record() const {
  for (std::uint64_t comment = 0; comment <= 0xffff; ++comment) {
    if (file_.size() < kEndRecordBytes + comment) break;
    const std::uint64_t at = file_.size() - kEndRecordBytes - comment;
    if (read<std::uint32_t>(at, "the end") == kEndRecord &&
        read<std::uint16_t>(at + 20, "the end") == comment) {
      return at;
    }
  }
  fail("{}: cut off: a zip file ends with its directory, which is not there", origin_);
}

ZipArchive::Directory ZipArchive::find_directory() const {
  constexpr std::string_view kWhat = "the zip directory's end record";
  const std::uint64_t at = find_end_record();
  if (read<std::uint16_t>(at + 4, kWhat) != 0 && read<std::uint16_t>(at + 4, kWhat) != 0xffff) {
    fail("{}: part of a zip archive of several files, which is not supported", origin_);
  }
  Directory directory{.begin = read<std::uint32_t>(at + 16, kWhat),
                      .end = 0,
                      .count = read<std::uint16_t>(at + 10, kWhat)};
  std::uint64_t size = read<std::uint32_t>(at + 12, kWhat);
  if (at >= kZip64LocatorBytes &&
      read<std::uint32_t>(at - kZip64LocatorBytes, kWhat) == kZip64Locator) {
    const auto zip64 = read<std::uint64_t>(at - kZip64LocatorBytes + 8, kWhat);
    if (read<std::uint32_t>(zip64, kWhat) != kZip64EndRecord) {
      fail("{}: the zip64 end record is not at byte {}, where the file says", origin_, zip64);
    }
    directory.count = read<std::uint64_t>(zip64 + 32, kWhat);
    size = read<std::uint64_t>(zip64 + 40, kWhat);
    directory.begin = read<std::uint64_t>(zip64 + 48, kWhat);
  }
  if (directory.begin > at || size > at - directory.begin ||
      directory.count > size / kDirectoryEntryBytes) {
    fail("{}: a zip directory of {} entries in {} bytes at byte {} does not lie in the file",
         origin_, directory.count, size, directory.begin);
  }
  directory.end = directory.begin + size;
  return directory;
}

ZipArchive::ZipArchive(const MappedFile& file)
    : origin_(file.path().string()), file_(file.bytes()) {
  const Directory directory = find_directory();
  std::uint64_t at = directory.begin;
  for (std::uint64_t i = 0; i < directory.count; ++i) at = read_entry(at);
  if (at != directory.end) fail("{}: the zip directory does not end where it says", origin_);
}

/// Reads the entry of the directory at `at`; gives the place of the next.
std::uint64_t ZipArchive::read_entry(std::uint64_t at) {
  constexpr std::string_view kWhat = "the zip directory";
  if (read<std::uint32_t>(at, kWhat) != kDirectoryEntry) {
    fail("{}: no entry of the zip directory at byte {}, where one should be", origin_, at);
  }
  Entry entry{.header = read<std::uint32_t>(at + 42, kWhat),
              .packed = read<std::uint32_t>(at + 20, kWhat),
              .size = read<std::uint32_t>(at + 24, kWhat),
              .method = read<std::uint16_t>(at + 10, kWhat),
              .flags = read<std::uint16_t>(at + 8, kWhat)};
  const std::uint64_t name = at + kDirectoryEntryBytes;
  const std::uint64_t extra = name + read<std::uint16_t>(at + 28, kWhat);
  const std::uint64_t comment = extra + read<std::uint16_t>(at + 30, kWhat);
  const std::uint64_t next = comment + read<std::uint16_t>(at + 32, kWhat);
  if (next > file_.size()) {
    fail("{}: cut off in {}: the file has {} bytes", origin_, kWhat, file_.size());
  }
  read_zip64(extra, comment, entry);
  const std::string_view text(reinterpret_cast<const char*>(file_.data()) + name, extra - name);
  if (!entries_.emplace(text, entry).second) {
    fail("{}: two entries of the zip directory are named {}", origin_, quoted_name(text));
  }
  names_.push_back(text);
  return next;
}

/// Sizes and places past 4 GiB stand in an extra field, those that need it, in this order.
void ZipArchive::read_zip64(std::uint64_t at, std::uint64_t end, Entry& entry) const {
  constexpr std::string_view kWhat = "an extra field of the zip directory";
  while (end - at >= 4) {
    const auto tag = read<std::uint16_t>(at, kWhat);
    const auto length = read<std::uint16_t>(at + 2, kWhat);
    at += 4;
    if (length > end - at) fail("{}: cut off in {}", origin_, kWhat);
    if (tag == kZip64Field) {
      std::uint64_t field = at;
      for (std::uint64_t* value : {&entry.size, &entry.packed, &entry.header}) {
        if (*value != kSeeZip64) continue;
        if (field + 8 > at + length) fail("{}: cut off in {}", origin_, kWhat);
        *value = read<std::uint64_t>(field, kWhat);
        field += 8;
      }
    }
    at += length;
  }
}

std::span<const std::byte> ZipArchive::bytes(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail("{}: the archive has no {}", origin_, quoted_name(name));
  const Entry& entry = found->second;
  if ((entry.flags & 1u) != 0) fail("{}: {} is encrypted", origin_, quoted_name(name));
  if (entry.method != 0 || entry.packed != entry.size) {
    fail("{}: {} is compressed, which PyTorch never does; expected it stored as it is", origin_,
         quoted_name(name));
  }
  constexpr std::string_view kWhat = "the header of an archive's entry";
  if (read<std::uint32_t>(entry.header, kWhat) != kLocalHeader) {
    fail("{}: the header of {} is not at byte {}, where the directory says", origin_,
         quoted_name(name), entry.header);
  }
  const std::uint64_t begin = entry.header + kLocalHeaderBytes +
                              read<std::uint16_t>(entry.header + 26, kWhat) +
                              read<std::uint16_t>(entry.header + 28, kWhat);
  if (begin > file_.size() || entry.size > file_.size() - begin) {
    fail("{}: the {} bytes of {} do not lie in the file, which has {}", origin_, entry.size,
         quoted_name(name), file_.size());
  }
  return file_.subspan(begin, entry.size);
}

}  // namespace nibble
