#include "table.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nibble/core/log.h"
#include "nibble/core/utf8.h"

namespace nibble::cli {
namespace {

/// What a terminal can show, in one line.
std::string for_people(const std::string& text) {
  return one_line(replace_invalid_utf8(text));
}

std::string aligned(const std::string& cell, TableColumn::Align align, std::size_t width) {
  const std::size_t taken = display_width(cell);
  const std::string blanks(width > taken ? width - taken : 0, ' ');
  return align == TableColumn::Align::kRight ? blanks + cell : cell + blanks;
}

std::string markdown_cell(const std::string& text) {
  std::string out;
  for (const char c : for_people(text)) {
    if (c == '|' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

/// The line under the titles, which says how columns are aligned.
std::string markdown_rule(const std::vector<TableColumn>& columns,
                          const std::vector<std::size_t>& widths) {
  std::string out;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const bool right = columns[i].align == TableColumn::Align::kRight;
    out += "| " + std::string(widths[i] - (right ? 1 : 0), '-') + (right ? ": " : " ");
  }
  return out + "|\n";
}

std::string csv_field(const std::string& text) {
  const bool plain = text.find_first_of(",\"\r\n") == std::string::npos && !text.starts_with(' ') &&
                     !text.ends_with(' ');
  if (plain) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace

TableCell::TableCell(double value, int decimals)
    : value_(value), shown_(fmt::format("{:.{}f}", value, decimals)) {}

TableCell TableCell::nothing(std::string shown) {
  TableCell cell;
  cell.shown_ = std::move(shown);
  return cell;
}

Json TableCell::json() const {
  if (const auto* text = std::get_if<std::string>(&value_)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&value_)) return *integer;
  const auto* number = std::get_if<double>(&value_);
  return number != nullptr && std::isfinite(*number) ? Json(*number) : Json();
}

std::string TableCell::plain() const {
  if (const auto* text = std::get_if<std::string>(&value_)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&value_)) return std::to_string(*integer);
  const auto* number = std::get_if<double>(&value_);
  return number != nullptr && std::isfinite(*number) ? fmt::format("{}", *number) : "";
}

Table::Table(std::vector<TableColumn> columns, std::size_t gap)
    : columns_(std::move(columns)), gap_(gap) {}

void Table::add_row(std::vector<TableCell> cells) {
  assert(cells.size() <= columns_.size());
  rows_.push_back(std::move(cells));
}

void Table::add_remark(std::string line) {
  remarks_.push_back({.row = rows_.size(), .line = std::move(line)});
}

std::vector<TableCell> Table::titles() const {
  std::vector<TableCell> cells;
  for (const TableColumn& column : columns_) cells.emplace_back(column.title);
  return cells;
}

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width =
        std::max(columns_[i].min_width, display_width(for_people(columns_[i].title)));
    for (const std::vector<TableCell>& row : rows_) {
      if (i < row.size()) width = std::max(width, display_width(for_people(row[i].shown())));
    }
    widths.push_back(width);
  }
  return widths;
}

std::string Table::text() const {
  const std::vector<std::size_t> widths = this->widths();
  std::string out;
  const auto add_line = [&](const std::vector<TableCell>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) out.append(gap_, ' ');
      out += aligned(for_people(cells[i].shown()), columns_[i].align, widths[i]);
    }
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  };
  add_line(titles());
  auto remark = remarks_.begin();
  for (std::size_t row = 0; row <= rows_.size(); ++row) {
    for (; remark != remarks_.end() && remark->row == row; ++remark) out += remark->line + '\n';
    if (row < rows_.size()) add_line(rows_[row]);
  }
  return out;
}

std::string Table::markdown() const {
  std::vector<std::vector<std::string>> lines = {{}};
  for (const TableColumn& column : columns_) lines[0].push_back(markdown_cell(column.title));
  for (const std::vector<TableCell>& row : rows_) {
    lines.emplace_back();
    for (const TableCell& cell : row) lines.back().push_back(markdown_cell(cell.shown()));
  }
  std::vector<std::size_t> widths(columns_.size(), 4);  // of "---:" at least
  for (std::vector<std::string>& line : lines) {
    line.resize(columns_.size());
    for (std::size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], display_width(line[i]));
    }
  }
  std::string out;
  for (const std::vector<std::string>& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      out += "| " + aligned(line[i], columns_[i].align, widths[i]) + " ";
    }
    out += "|\n";
    if (&line == &lines.front()) out += markdown_rule(columns_, widths);
  }
  return out;
}

std::string Table::csv() const {
  std::string out;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    out += (i > 0 ? "," : "") + csv_field(columns_[i].key);
  }
  out += '\n';
  for (const std::vector<TableCell>& row : rows_) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) out += ',';
      if (i < row.size()) out += csv_field(row[i].plain());
    }
    out += '\n';
  }
  return out;
}

Json Table::json() const {
  Json rows = Json::array();
  for (const std::vector<TableCell>& row : rows_) {
    Json object = Json::object();
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (!row[i].is_empty()) object[columns_[i].key] = row[i].json();
    }
    rows.push_back(std::move(object));
  }
  return rows;
}

}  // namespace nibble::cli
