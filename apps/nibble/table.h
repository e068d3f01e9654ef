// Tables, in four forms: aligned text and Markdown for people, CSV and JSON for programs.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "nibble/core/json.h"

namespace nibble::cli {

/// What stands in a row and a column: a text, a number, or nothing. Programs get the number as
/// precise as it is, people what is shown.
class TableCell {
 public:
  TableCell() = default;
  TableCell(std::string text) : value_(text), shown_(std::move(text)) {}
  TableCell(const char* text) : TableCell(std::string(text)) {}
  TableCell(std::integral auto value) : TableCell(value, std::to_string(value)) {}
  TableCell(double value, int decimals);
  /// Numbers that people see as `shown`.
  TableCell(std::integral auto value, std::string shown)
      : value_(static_cast<std::int64_t>(value)), shown_(std::move(shown)) {}
  TableCell(double value, std::string shown) : value_(value), shown_(std::move(shown)) {}
  /// Nothing, which people see as `shown`.
  static TableCell nothing(std::string shown);

  const std::string& shown() const { return shown_; }
  bool is_empty() const { return std::holds_alternative<std::monostate>(value_); }
  Json json() const;
  /// The value in full, "" if it is none or no finite number.
  std::string plain() const;

 private:
  std::variant<std::monostate, std::string, std::int64_t, double> value_;
  std::string shown_;
};

struct TableColumn {
  enum class Align { kLeft, kRight };

  std::string title;  // for people, with the unit: "tok/s"
  std::string key;    // for programs, likewise: "tokens_per_second"; no two are equal
  Align align = Align::kRight;
  std::size_t min_width = 0;  // of the text form, in columns of the terminal
};

class Table {
 public:
  /// The text form has `gap` blanks between columns.
  explicit Table(std::vector<TableColumn> columns, std::size_t gap = 1);

  /// A row; cells at its end may be left out.
  void add_row(std::vector<TableCell> cells);
  /// A line of the text form below the rows so far.
  void add_remark(std::string line);

  /// Lines without blanks at their ends.
  std::string text() const;
  /// A table of GitHub Flavored Markdown, aligned too as text.
  std::string markdown() const;
  /// As RFC 4180 says, but with lines that end in \n: first the keys.
  std::string csv() const;
  /// A list of rows, {key: value}; without those that have none.
  Json json() const;

 private:
  struct Remark {
    std::size_t row;  // it stands before that one
    std::string line;
  };

  std::vector<TableCell> titles() const;
  std::vector<std::size_t> widths() const;

  std::vector<TableColumn> columns_;
  std::size_t gap_;
  std::vector<std::vector<TableCell>> rows_;
  std::vector<Remark> remarks_;
};

}  // namespace nibble::cli
