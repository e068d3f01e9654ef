// Comma-separated values as RFC 4180 describes them and Python's csv module reads them: fields in
// quotes may hold commas, quotes (doubled) and newlines; lines end in LF, CR LF or CR.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct CsvRecord {
  std::size_t line;  // where it begins in the file, from 1
  std::vector<std::string> fields;
};

/// The records of a file; empty lines are none. Newlines in a field stay as they are. Throws Error
/// as "origin:line: ..." for a quote that is not closed and for text behind a closing quote.
std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& origin);

}  // namespace nibble
