#include "nibble/formats/csv.h"

#include <algorithm>

#include "nibble/core/error.h"

namespace nibble {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

class CsvParser {
 public:
  CsvParser(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {
    if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  }

  std::vector<CsvRecord> parse() {
    std::vector<CsvRecord> records;
    while (at_ < text_.size()) {
      if (skip_line_end()) continue;
      records.push_back({line_, {}});
      read_record(records.back().fields);
    }
    return records;
  }

 private:
  void read_record(std::vector<std::string>& fields) {
    for (;;) {
      const bool quoted = at_ < text_.size() && text_[at_] == '"';
      fields.push_back(quoted ? read_quoted() : read_plain());
      if (at_ == text_.size() || skip_line_end()) return;
      if (text_[at_] != ',') {
        fail("{}:{}: text behind the closing quote of a field, expected a comma or the line's end",
             origin_, line_);
      }
      ++at_;
    }
  }

  std::string read_plain() {
    const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    const std::string_view field = text_.substr(at_, end - at_);
    at_ = end;
    return std::string(field);
  }

  std::string read_quoted() {
    const std::size_t first_line = line_;
    std::string field;
    for (++at_;;) {
      const std::size_t quote = text_.find('"', at_);
      if (quote == std::string_view::npos) {
        fail("{}:{}: a quote is opened and never closed", origin_, first_line);
      }
      const std::string_view part = text_.substr(at_, quote - at_);
      line_ += line_ends(part);
      field += part;
      at_ = quote + 1;
      if (at_ == text_.size() || text_[at_] != '"') return field;
      field += '"';  // it is doubled
      ++at_;
    }
  }

  bool skip_line_end() {
    if (text_[at_] != '\n' && text_[at_] != '\r') return false;
    at_ += text_.substr(at_).starts_with("\r\n") ? 2 : 1;
    ++line_;
    return true;
  }

  static std::size_t line_ends(std::string_view text) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool is_pair = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
      if ((text[i] == '\n' || text[i] == '\r') && !is_pair) ++count;
    }
    return count;
  }

  std::string_view text_;
  const std::string& origin_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& origin) {
  return CsvParser(text, origin).parse();
}

}  // namespace nibble
