#include "nibble/npu/published.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "nibble/core/error.h"
#include "nibble/formats/csv.h"

namespace nibble::npu {
namespace {

constexpr const char* kColumns[] = {
    "sheet", "model", "device", "precision", "algorithm",  "group",   "fa",         "fast",
    "task",  "table", "row",    "prompt",    "new_tokens", "total_s", "prefill_ms", "token_ms"};

/// A record by the names of its columns.
class Record {
 public:
  Record(const CsvRecord& record, const std::map<std::string, std::size_t>& columns,
         const std::string& origin)
      : record_(record), columns_(columns), origin_(origin) {
    if (record.fields.size() != columns.size()) {
      fail("{}:{}: expected {} fields, found {}", origin, record.line, columns.size(),
           record.fields.size());
    }
  }

  const std::string& text(const char* column) const { return record_.fields[columns_.at(column)]; }
  double positive(const char* column) const {
    const double value = number<double>(column, "a positive number");
    if (!(value > 0) || !std::isfinite(value)) wrong(column, "a positive number");
    return value;
  }
  int integer(const char* column, int lo, int hi) const {
    const int value = number<int>(column, "a whole number");
    if (value < lo || value > hi) {
      wrong(column, "a whole number of " + std::to_string(lo) + " to " + std::to_string(hi));
    }
    return value;
  }
  [[noreturn]] void wrong(const char* column, const std::string& expected) const {
    fail("{}:{}: {}: expected {}, found \"{}\"", origin_, record_.line, column, expected,
         text(column));
  }

 private:
  template <typename Number>
  Number number(const char* column, const char* expected) const {
    const std::string& field = text(column);
    Number value{};
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc{} || end != field.data() + field.size()) wrong(column, expected);
    return value;
  }

  const CsvRecord& record_;
  const std::map<std::string, std::size_t>& columns_;
  const std::string& origin_;
};

std::map<std::string, std::size_t> columns_of(const CsvRecord& header, const std::string& origin) {
  std::map<std::string, std::size_t> columns;
  for (std::size_t i = 0; i < header.fields.size(); ++i) columns[header.fields[i]] = i;
  for (const char* column : kColumns) {
    if (!columns.contains(column)) fail("{}: no column \"{}\" in the first line", origin, column);
  }
  return columns;
}

Recipe recipe_of(const Record& record) {
  // The first table of sheet 002 does not say: it is PHX by its times.
  const std::string& device_text = record.text("device");
  const auto device = device_text == "?" ? Device::kPhx : find_device(device_text);
  if (!device) record.wrong("device", "PHX, HPT or STX");
  const auto precision = find_precision(record.text("precision"));
  if (!precision) record.wrong("precision", "w4abf16, w8a8 or w8a16");
  const bool fast = record.integer("fast", 0, 1) == 1;
  // The sheet of the smallest model is of another build, with kernels of 32 tiles.
  const bool mladf = *device == Device::kStx && record.text("model") == "Llama-3.2-1B";
  const Stack stack = fast ? Stack::kFast : mladf ? Stack::kMladf : Stack::kEager;
  const int group = record.integer("group", 0, 128);
  if (*precision == Precision::kW4ABF16 && group != 32 && group != 64 && group != 128) {
    record.wrong("group", "32, 64 or 128");
  }
  Recipe recipe =
      make_recipe(*device, stack,
                  {.name = record.text("algorithm"), .precision = *precision, .group_size = group});
  recipe.flash_attention_plus = record.integer("fa", 0, 1) == 1;
  return recipe;
}

PublishedRow row_of(const Record& record) {
  const std::string& task = record.text("task");
  return {.sheet = record.text("sheet"),
          .table = record.integer("table", 1, 1000),
          .row = record.integer("row", 1, 100000),
          .model = record.text("model"),
          .algorithm = record.text("algorithm"),
          .task = task,
          .recipe = recipe_of(record),
          .completion = {.prompt = record.integer("prompt", 1, 1 << 20),
                         .new_tokens = record.integer("new_tokens", 2, 1 << 20),
                         .cold_start = task.starts_with("benchmark")},
          .total_s = record.positive("total_s"),
          .prefill_ms = record.positive("prefill_ms"),
          .token_ms = record.positive("token_ms")};
}

}  // namespace

bool PublishedRow::prefill_is_outlier() const {
  return task == "decode" && row == 1;  // the first prompt of a process
}

bool PublishedRow::token_is_outlier() const {
  // Scores of 4000 x 4000 in float32 exhaust the memory; another power state or build.
  const bool no_memory =
      sheet == "002" && completion.prompt == 4000 && !recipe.flash_attention_plus;
  return no_memory || (sheet == "004" && task == "benchmark");
}

std::vector<PublishedRow> parse_published(std::string_view text, const std::string& origin) {
  const std::vector<CsvRecord> records = parse_csv(text, origin);
  if (records.size() < 2) fail("{}: expected a line of columns and rows behind it", origin);
  const std::map<std::string, std::size_t> columns = columns_of(records.front(), origin);
  std::vector<PublishedRow> rows;
  for (std::size_t i = 1; i < records.size(); ++i) {
    const Record record(records[i], columns, origin);
    if (!find_published_shape(record.text("model"))) {
      record.wrong("model", "Llama-3.2-1B, Llama-3.1-8B, Llama-2-7B, OPT-6.7B or Qwen1.5-7B");
    }
    rows.push_back(row_of(record));
  }
  return rows;
}

std::vector<ComparedRow> compare(const std::vector<PublishedRow>& rows,
                                 const Parameters& parameters) {
  std::vector<ComparedRow> compared;
  for (const PublishedRow& row : rows) {
    const TimeModel model(*find_published_shape(row.model), row.recipe, parameters);
    compared.push_back({row, model.completion(row.completion)});
  }
  return compared;
}

double share_within(const std::vector<ComparedRow>& rows, double bound, bool outliers_excepted) {
  const auto within = [&](const ComparedRow& row) {
    const bool prefill = outliers_excepted && row.published.prefill_is_outlier();
    const bool token = outliers_excepted && row.published.token_is_outlier();
    return (prefill || std::abs(row.prefill_error()) <= bound) &&
           (token || std::abs(row.token_error()) <= bound);
  };
  return static_cast<double>(std::count_if(rows.begin(), rows.end(), within)) /
         static_cast<double>(rows.size());
}

}  // namespace nibble::npu
