// The four forms of a table.
#include "table.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

using Align = TableColumn::Align;

Table speeds() {
  Table table({{"test", "test", Align::kLeft, 6},
               {.title = "tok/s", .key = "tokens_per_second", .min_width = 8},
               {.title = "% of limit", .key = "percent_of_limit"}});
  table.add_row({"pp512", {211.25, 2}, {88.123456, "88.1 %"}});
  table.add_remark("       limit: 0.5 TOPS");
  table.add_row({"tg128", {49.875, 2}});
  return table;
}

TEST(Table, TextIsAligned) {
  EXPECT_EQ(speeds().text(),
            "test      tok/s % of limit\n"
            "pp512    211.25     88.1 %\n"
            "       limit: 0.5 TOPS\n"
            "tg128     49.88\n");
}

TEST(Table, TextWidensToTheLongestCellAsATerminalShowsIt) {
  Table table({{"name", "name", Align::kLeft}, {"n", "n"}}, 2);
  table.add_remark("before all rows");
  table.add_row({"日本", 7});            // wide characters take two columns
  table.add_row({"e\u0301tude", 1234});  // a combining accent none
  table.add_row({"a\nb\xff", "x"});      // what would break the line, or is no UTF-8
  EXPECT_EQ(table.text(),
            "name      n\n"
            "before all rows\n"
            "日本      7\n"
            "e\u0301tude  1234\n"
            "a\\nb\uFFFD     x\n");
}

TEST(Table, LinesHaveNoBlanksAtTheirEnds) {
  Table table({{"a", "a", Align::kLeft, 9}, {"b", "b", Align::kLeft, 9}});
  table.add_row({"x", "y"});
  table.add_row({"x", ""});
  EXPECT_EQ(table.text(), "a         b\nx         y\nx\n");
}

TEST(Table, Markdown) {
  EXPECT_EQ(speeds().markdown(),
            "| test  |  tok/s | % of limit |\n"
            "| ----- | -----: | ---------: |\n"
            "| pp512 | 211.25 |     88.1 % |\n"
            "| tg128 |  49.88 |            |\n");
  Table table({{"a|b", "a", Align::kLeft}});
  table.add_row({"x|y\\z\nw"});
  EXPECT_EQ(table.markdown(), "| a\\|b        |\n| ----------- |\n| x\\|y\\\\z\\\\nw |\n");
}

TEST(Table, CsvHasKeysAndNumbersInFull) {
  EXPECT_EQ(speeds().csv(),
            "test,tokens_per_second,percent_of_limit\n"
            "pp512,211.25,88.123456\n"
            "tg128,49.875,\n");
  Table table({{"name", "the \"name\"", Align::kLeft}, {"n", "n"}});
  table.add_row({"a,b", std::int64_t{9007199254740993}});
  table.add_row({"say \"x\"\nand", {std::numeric_limits<double>::infinity(), 1}});
  table.add_row({" x", TableCell::nothing("-")});
  EXPECT_EQ(table.csv(),
            "\"the \"\"name\"\"\",n\n"
            "\"a,b\",9007199254740993\n"
            "\"say \"\"x\"\"\nand\",\n"
            "\" x\",\n");
}

TEST(Table, JsonIsAListOfRows) {
  EXPECT_EQ(speeds().json(), Json::parse(R"([
    {"test": "pp512", "tokens_per_second": 211.25, "percent_of_limit": 88.123456},
    {"test": "tg128", "tokens_per_second": 49.875}])"));
  Table table({{"a", "a"}, {"b", "b"}});
  table.add_row({TableCell::nothing("-"), {std::numeric_limits<double>::quiet_NaN(), 1}});
  EXPECT_EQ(table.json().dump(), R"([{"b":null}])");
  EXPECT_EQ(Table(std::vector<TableColumn>{{"a", "a"}}).json().dump(), "[]");
}

TEST(Table, TextShowsNothingAsGiven) {
  Table table({{"a", "a"}, {"b", "b"}});
  table.add_row({TableCell::nothing("-"), {5, "five"}});
  EXPECT_EQ(table.text(), "a    b\n- five\n");
}

}  // namespace
}  // namespace nibble::cli
