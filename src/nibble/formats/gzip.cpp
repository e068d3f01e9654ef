#include "nibble/formats/gzip.h"

#include <zlib.h>

#include <array>
#include <string_view>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"

namespace nibble {
namespace {

constexpr std::string_view kMagic = "\x1f\x8b";
constexpr int kGzipOnly = 16;  // added to the window's bits: no zlib header is taken

/// What is in a file of one gzip member or several.
class Inflater {
 public:
  Inflater(const std::string& bytes, const std::string& origin) : origin_(origin) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());  // below 2^32: see read_text_or_gzip()
    if (inflateInit2(&stream_, MAX_WBITS + kGzipOnly) != Z_OK) fail("zlib cannot be set up");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  std::string text(std::size_t limit) {
    std::string text;
    while (stream_.avail_in > 0) {
      read_member(text, limit);
      inflateReset(&stream_);
    }
    return text;
  }

 private:
  void read_member(std::string& text, std::size_t limit) {
    for (int status = Z_OK; status != Z_STREAM_END;) {
      stream_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
      stream_.avail_out = static_cast<uInt>(buffer_.size());
      status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_BUF_ERROR) fail("{}: cut off: the gzip stream goes on", origin_);
      if (status != Z_OK && status != Z_STREAM_END) {
        fail("{}: damaged gzip stream: {}", origin_, stream_.msg != nullptr ? stream_.msg : "");
      }
      text.append(buffer_.data(), buffer_.size() - stream_.avail_out);
      if (text.size() > limit) fail("{}: more than {} bytes of text", origin_, limit);
    }
  }

  const std::string& origin_;
  z_stream stream_{};
  std::array<char, 1 << 16> buffer_{};
};

}  // namespace

std::string read_text_or_gzip(const std::filesystem::path& path, std::size_t limit) {
  std::string bytes = read_text_file(path, limit);
  if (!bytes.starts_with(kMagic)) return bytes;
  const std::string origin = path.string();
  if (bytes.size() > UINT32_MAX) fail("{}: more than {} bytes of gzip", origin, UINT32_MAX);
  return Inflater(bytes, origin).text(limit);
}

}  // namespace nibble
