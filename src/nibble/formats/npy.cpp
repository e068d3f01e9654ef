#include "nibble/formats/npy.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "nibble/core/error.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr std::string_view kNpyMagic = "\x93NUMPY";
constexpr std::size_t kPreamble = 10;      // magic, version, the header's length (16 bits)
constexpr std::size_t kNpyAlignment = 64;  // of the data in the file

struct TypeCode {
  std::string_view code;
  DType dtype;
};

constexpr std::array kTypeCodes = {TypeCode{"<f4", DType::kF32}, TypeCode{"<i4", DType::kI32},
                                   TypeCode{"|u1", DType::kU8}, TypeCode{"|i1", DType::kI8}};

std::string npy_header(std::int64_t rows, std::int64_t cols) {
  std::string text =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, cols);
  const std::size_t unpadded = kPreamble + text.size() + 1;
  text.append((kNpyAlignment - unpadded % kNpyAlignment) % kNpyAlignment, ' ');
  text += '\n';
  std::string header(kNpyMagic);
  header +=
      {'\1', '\0', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return header + text;
}

/// Where the header's text and the data lie.
struct Parts {
  std::string_view header;
  std::span<const std::byte> data;
};

Parts split(const MappedFile& file) {
  const std::string origin = file.path().string();
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  if (!text.starts_with(kNpyMagic)) fail("{}: not a .npy file", origin);
  if (text.size() < kPreamble + 2) fail("{}: cut off in the header", origin);
  const auto major = static_cast<unsigned char>(text[kNpyMagic.size()]);
  if (major < 1 || major > 3) fail("{}: .npy version {}, expected 1 to 3", origin, major);
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  std::uint32_t length = 0;
  std::memcpy(&length, text.data() + kNpyMagic.size() + 2, length_bytes);
  const std::size_t start = kNpyMagic.size() + 2 + length_bytes;
  if (length > text.size() - start) fail("{}: cut off in the header", origin);
  return {text.substr(start, length), file.bytes().subspan(start + length)};
}

/// Reads the header's text, a Python dictionary of three known keys, from front to back.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {}

  bool accept(std::string_view token) {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n')) text_.remove_prefix(1);
    if (!text_.starts_with(token)) return false;
    text_.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) malformed();
  }
  std::string_view quoted_text() {
    const char quote = accept("\"") ? '"' : '\'';
    if (quote == '\'') expect("'");
    const std::size_t end = text_.find(quote);
    if (end == std::string_view::npos) malformed();
    const std::string_view inside = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return inside;
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> numbers;
    expect("(");
    while (!accept(")")) {
      numbers.push_back(number());
      if (!accept(",")) {
        expect(")");
        break;
      }
    }
    return numbers;
  }
  [[noreturn]] void malformed() const {
    fail("{}: malformed .npy header, at {}", origin_, quoted_name(text_));
  }

 private:
  std::int64_t number() {
    const std::size_t digits = std::min(text_.find_first_not_of("0123456789"), text_.size());
    if (digits == 0 || digits > 18) malformed();  // 18 digits fit in 63 bits
    std::int64_t value = 0;
    for (const char digit : text_.substr(0, digits)) value = value * 10 + (digit - '0');
    text_.remove_prefix(digits);
    return value;
  }

  std::string_view text_;
  const std::string& origin_;
};

DType dtype_from_code(std::string_view code, const std::string& origin) {
  for (const TypeCode& known : kTypeCodes) {
    if (known.code == code) return known.dtype;
  }
  fail("{}: elements of type {} are not supported, expected <f4, <i4, |u1 or |i1", origin,
       quoted_name(code));
}

/// Type and shape out of the header.
TensorView parse_header(std::string_view text, const std::string& origin) {
  HeaderText header(text, origin);
  std::optional<DType> dtype;
  std::optional<std::vector<std::int64_t>> shape;
  header.expect("{");
  while (!header.accept("}")) {
    const std::string_view key = header.quoted_text();
    header.expect(":");
    if (key == "descr") {
      dtype = dtype_from_code(header.quoted_text(), origin);
    } else if (key == "shape") {
      shape = header.tuple();
    } else if (key == "fortran_order") {
      if (header.accept("True")) fail("{}: in Fortran order, expected C order", origin);
      header.expect("False");
    } else {
      header.malformed();
    }
    if (!header.accept(",")) {
      header.expect("}");
      break;
    }
  }
  if (!dtype || !shape) fail("{}: .npy header without type or shape", origin);
  return {.dtype = *dtype, .shape = *std::move(shape)};
}

template <typename T>
std::vector<T> copy_elements(const TensorView& view) {
  std::vector<T> values(static_cast<std::size_t>(view.elements()));
  if (!values.empty()) std::memcpy(values.data(), view.data, view.bytes);
  return values;
}

}  // namespace

NpyWriter::NpyWriter(const std::filesystem::path& path, std::int64_t rows, std::int64_t cols)
    : origin_(path.string()), cols_(cols), output_(path) {
  const std::int64_t bytes = checked_tensor_bytes(DType::kF32, {rows, cols});
  if (bytes < 0) fail("{}: an array of {} x {} is too large", origin_, rows, cols);
  remaining_ = rows * cols;
  const std::string header = npy_header(rows, cols);
  output_.reserve(header.size() + static_cast<std::uint64_t>(bytes));
  output_.write(header);
}

void NpyWriter::write(std::span<const float> rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  if (count > remaining_ || (cols_ > 0 && count % cols_ != 0)) {
    fail("{}: {} elements written where whole rows of {} and at most {} elements were due", origin_,
         count, cols_, remaining_);
  }
  output_.write(std::as_bytes(rows));
  remaining_ -= count;
}

void NpyWriter::commit() {
  if (remaining_ != 0) fail("{}: {} elements were not written", origin_, remaining_);
  output_.commit();
}

NpyFile::NpyFile(const std::filesystem::path& path) : file_(path) {
  const Parts parts = split(file_);
  view_ = parse_header(parts.header, path.string());
  const std::int64_t bytes = checked_tensor_bytes(view_.dtype, view_.shape);
  if (bytes < 0 || static_cast<std::uint64_t>(bytes) != parts.data.size()) {
    fail("{}: {} bytes of data do not make the shape {} of {}", path.string(), parts.data.size(),
         shape_to_string(view_.shape), dtype_name(view_.dtype));
  }
  view_.data = parts.data.data();
  view_.bytes = parts.data.size();
}

void NpyFile::wrong_type(const char* expected) const {
  fail("{}: elements are {}, expected {}", file_.path().string(), dtype_name(view_.dtype),
       expected);
}

std::vector<float> NpyFile::floats() const {
  if (view_.dtype != DType::kF32) wrong_type("F32");
  return copy_elements<float>(view_);
}

std::vector<std::int32_t> NpyFile::ints() const {
  if (view_.dtype != DType::kI32) wrong_type("I32");
  return copy_elements<std::int32_t>(view_);
}

std::vector<std::uint8_t> NpyFile::bytes() const {
  if (view_.dtype != DType::kU8) wrong_type("U8");
  return copy_elements<std::uint8_t>(view_);
}

}  // namespace nibble
