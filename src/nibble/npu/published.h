// Published tables of times on NPUs, and the model beside them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/npu/time_model.h"

namespace nibble::npu {

/// A row of a table.
struct PublishedRow {
  std::string sheet;  // "002"
  int table;
  int row;
  std::string model;
  std::string algorithm;
  std::string task;
  Recipe recipe;
  Completion completion;
  double total_s;
  double prefill_ms;
  double token_ms;

  // Numbers that no smooth model fits (docs/npu.md).
  bool prefill_is_outlier() const;
  bool token_is_outlier() const;
};

/// The rows of a file with the columns sheet, model, device, precision, algorithm, group, fa, fast,
/// task, table, row, prompt, new_tokens, total_s, prefill_ms and token_ms, in any order. Throws
/// Error naming `origin`, line and column for what is missing, no number or unknown.
std::vector<PublishedRow> parse_published(std::string_view text, const std::string& origin);

/// A row and what the model makes of it.
struct ComparedRow {
  PublishedRow published;
  ModelledTime modelled;

  double prefill_error() const { return modelled.prefill_ms / published.prefill_ms - 1; }
  double token_error() const { return modelled.token_ms / published.token_ms - 1; }
};
std::vector<ComparedRow> compare(const std::vector<PublishedRow>& rows,
                                 const Parameters& parameters);

/// Of some rows: the share with both numbers within a bound, outliers counting as within or not.
double share_within(const std::vector<ComparedRow>& rows, double bound, bool outliers_excepted);

}  // namespace nibble::npu
