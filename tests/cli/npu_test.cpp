// nibble npu.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/expect_failure.h"
#include "core/temporary_folder.h"
#include "paths.h"

namespace nibble::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char kOpt[] =
    R"({"architectures": ["OPTForCausalLM"], "model_type": "opt", "hidden_size": 4096, "ffn_dim": 16384,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 50272,
        "max_position_embeddings": 2048, "word_embed_proj_dim": 4096, "do_layer_norm_before": true})";

TEST(Npu, CountsTheLaunchesOfAConfig) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "opt");
  write_file(folder / "opt" / "config.json", kOpt);
  const std::string model = (folder / "opt").string();
  const Outcome outcome =
      nibble({"npu", "launches", model, "--algorithm", "awq", "--flash_attention_plus", "--json"});
  expect_success(outcome);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["launches"], 160);
  EXPECT_EQ(json["head_launches"], 0);
  EXPECT_GT(json["padded_weights"], json["weights"]);
  const Outcome text = nibble({"npu", "launches", model});
  expect_success(text);
  EXPECT_THAT(text.out, HasSubstr("224 of the blocks, 2 of the head"));
  EXPECT_THAT(text.out, HasSubstr("modelled"));
}

TEST(Npu, RemakesThePublishedTables) {
  const Outcome outcome = nibble({"npu", "sheet", "--json"});
  expect_success(outcome);
  const auto json = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(json["rows"].size(), 267u);
  const auto& row = json["rows"][0];
  for (const char* key : {"sheet", "table", "row", "device", "stack", "prompt", "prefill_ms",
                          "token_ms", "model_prefill_ms", "model_token_ms", "outlier"}) {
    EXPECT_TRUE(row.contains(key)) << key;
  }
  const Outcome text = nibble({"npu", "sheet"});
  expect_success(text);
  EXPECT_THAT(text.out, HasSubstr("267 rows"));
}

TEST(Npu, ListsDevices) {
  const Outcome outcome = nibble({"npu", "devices", "--json"});
  expect_success(outcome);
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["devices"].size(), 3u);
}

TEST(Npu, WrongUsageIsOneLine) {
  const TemporaryFolder folder;
  write_file(folder / "bad.csv", "a,b\n1,2\n");
  write_file(folder / "bad.json", "{\"tL.STX.eager\": -1}");
  expect_failure(nibble({"npu", "launches"}), 2, {"launches takes a model"});
  expect_failure(nibble({"npu", "sheet", "x"}), 2, {"sheet takes no model"});
  expect_failure(nibble({"npu", "sheet", "--seed-tables", (folder / "bad.csv").string()}), 1,
                 {"bad.csv", "no column \"sheet\""});
  expect_failure(nibble({"npu", "devices", "--parameters", (folder / "bad.json").string()}), 1,
                 {"bad.json", "tL.STX.eager", "positive"});
}

}  // namespace
}  // namespace nibble::testing
