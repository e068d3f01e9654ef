// A file without a name for what does not fit into memory: gone with the process, however that
// ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

namespace nibble {

class ScratchFile {
 public:
  /// In `folder`, its disk space taken at once. Throws Error if there is no room for it, or if the
  /// folder cannot be written.
  ScratchFile(const std::filesystem::path& folder, std::uint64_t bytes);
  ~ScratchFile();
  ScratchFile(ScratchFile&& other) noexcept
      : folder_(std::move(other.folder_)), fd_(std::exchange(other.fd_, -1)) {}
  ScratchFile& operator=(ScratchFile&&) = delete;

  /// Throw Error if that fails.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path folder_;
  int fd_;
};

}  // namespace nibble
