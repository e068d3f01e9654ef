#include "nibble/core/nearest_name.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace nibble {
namespace {

/// Restricted Damerau-Levenshtein distance, row by row: rows[0] belongs to one character less of
/// `a`, rows[1] to two.
std::size_t slips_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  std::array<std::vector<std::size_t>, 2> rows = {row, row};
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::swap(rows[0], rows[1]);
    std::swap(rows[0], row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = rows[0][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, rows[0][j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], rows[1][j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> nearest_name(std::string_view word, std::span<const std::string> names) {
  std::optional<std::string> nearest;
  std::size_t fewest = 0;
  for (const std::string& name : names) {
    const std::size_t slips = slips_between(word.substr(0, 2 * name.size()), name);
    if (slips > name.size() / 3 || (nearest && slips >= fewest)) continue;
    nearest = name;
    fewest = slips;
  }
  return nearest;
}

}  // namespace nibble
