#include "nibble/npu/time_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/formats/csv.h"
#include "nibble/npu/built_in.h"
#include "nibble/npu/published.h"
#include "paths.h"

namespace nibble::npu {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<ComparedRow> built_in_rows() {
  return compare(parse_published(built_in_published_tables(), "tables"), Parameters::fitted());
}

// fixtures/modelled.csv: what an implementation of the same equations in Python gives, with which
// the parameters were fitted.
TEST(TimeModel, GivesWhatTheFitsOwnImplementationGives) {
  const std::string path = nibble::testing::test_file("npu/fixtures/modelled.csv");
  const std::vector<CsvRecord> expected = parse_csv(nibble::testing::read_file(path), path);
  std::vector<ComparedRow> rows = built_in_rows();
  ASSERT_EQ(rows.size() + 1, expected.size());
  // The fixture has the rows of a table in their order, tables in another.
  std::map<std::string, std::vector<const ComparedRow*>> tables;
  for (const ComparedRow& row : rows) {
    tables[row.published.sheet + "/" + std::to_string(row.published.table)].push_back(&row);
  }
  std::map<std::string, std::size_t> next;
  for (std::size_t i = 1; i < expected.size(); ++i) {
    const std::vector<std::string>& fields = expected[i].fields;
    const std::string table = fields[0] + "/" + fields[1];
    SCOPED_TRACE(table + ", row " + std::to_string(next[table]));
    ASSERT_LT(next[table], tables[table].size());
    const ModelledTime& time = tables[table][next[table]++]->modelled;
    const double prefill = std::strtod(fields[2].c_str(), nullptr);
    const double token = std::strtod(fields[3].c_str(), nullptr);
    EXPECT_NEAR(time.prefill_ms, prefill, 0.005 * prefill);
    EXPECT_NEAR(time.token_ms, token, 0.005 * token);
  }
}

TEST(TimeModel, IsWithinItsBoundsOfThePublishedTables) {
  const std::vector<ComparedRow> rows = built_in_rows();
  EXPECT_EQ(rows.size(), 267u);
  EXPECT_GE(share_within(rows, 0.15, true), 0.95);
  EXPECT_GE(share_within(rows, 0.10, true), 0.90);
  EXPECT_GE(share_within(rows, 0.15, false), 0.87);
}

TEST(TimeModel, LosesAColdStartToThePromptFirst) {
  const Recipe recipe = make_recipe(Device::kStx, Stack::kEager, {.name = "awq"});
  const TimeModel model(*find_published_shape("OPT-6.7B"), recipe, Parameters::fitted());
  const Completion warm{.prompt = 32, .new_tokens = 60};
  Completion cold = warm;
  cold.cold_start = true;
  const ModelledTime a = model.completion(warm);
  const ModelledTime b = model.completion(cold);
  const double lost = *Parameters::fitted().find("X", recipe);
  EXPECT_GT(b.prefill_ms, a.prefill_ms);
  EXPECT_NEAR(b.total_s(cold) - a.total_s(warm), lost / 1e3, 1e-9);
  EXPECT_DOUBLE_EQ(model.completion({.prompt = 32, .new_tokens = 1}).prefill_ms, a.prefill_ms);
}

void expect_tables_refused(const std::string& text, const std::string& words) {
  EXPECT_ERROR(parse_published(text, "t.csv"), AllOf(HasSubstr("t.csv"), HasSubstr(words)));
}

TEST(PublishedTables, ThatAreWrongAreRefused) {
  const std::string header =
      "sheet,model,device,precision,algorithm,group,fa,fast,task,table,row,prompt,new_tokens,"
      "total_s,prefill_ms,token_ms\n";
  const std::string row = "1,OPT-6.7B,STX,w4abf16,awq,128,0,0,decode,1,1,8,60,6,236,91\n";
  EXPECT_EQ(parse_published(header + row, "t.csv").size(), 1u);
  const auto with = [&](const char* from, const char* to) {
    std::string changed = header + row;
    changed.replace(changed.find(from, header.size()), std::string(from).size(), to);
    return changed;
  };
  expect_tables_refused("", "expected a line of columns");
  expect_tables_refused(header, "expected a line of columns");
  expect_tables_refused("a,b\n1,2\n", "no column \"sheet\"");
  expect_tables_refused(header + "1,2\n", "t.csv:2: expected 16 fields, found 2");
  expect_tables_refused(with("STX", "XYZ"), "t.csv:2: device: expected PHX, HPT or STX");
  expect_tables_refused(with("OPT", "GPT"), "model: expected");
  expect_tables_refused(with(",91", ",0"), "token_ms: expected a positive number, found \"0\"");
  expect_tables_refused(with(",91", ",-4"), "token_ms: expected a positive number");
  expect_tables_refused(with(",91", ",nan"), "token_ms: expected a positive number");
  expect_tables_refused(with(",8,60", ",0,60"), "prompt: expected a whole number of 1 to");
  expect_tables_refused(with("awq,128", "awq,100"), "t.csv:2: group: expected 32, 64 or 128");
}

TEST(Parameters, ThatAreWrongAreRefused) {
  const auto expect_refused = [](const std::string& text, const std::string& words) {
    EXPECT_ERROR(Parameters::parse(text, "p.json"), AllOf(HasSubstr("p.json"), HasSubstr(words)));
  };
  expect_refused("[1]", "expected an object");
  expect_refused(R"({"tL.STX.eager": "x"})", "tL.STX.eager");
  expect_refused(R"({"tL.STX.eager": 0})", "expected a positive number");
  const Parameters few = Parameters::parse(R"({"tL.STX.eager": 1})", "p.json");
  const Recipe recipe = make_recipe(Device::kStx, Stack::kEager, {.name = "awq"});
  EXPECT_EQ(few.get("tL", recipe), 1);
  EXPECT_THROW(few.get("BW", recipe), Error);
}

}  // namespace
}  // namespace nibble::npu
