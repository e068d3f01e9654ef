// Recipes: a checkpoint says how it was made, and is made again by that.
#include <nlohmann/json.hpp>

#include "cli/in_a_folder.h"
#include "nibble/core/json.h"
#include "nibble/formats/gguf.h"
#include "paths.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Recipes : public BesideAModel {
 protected:
  Outcome quantize(const std::string& out, std::vector<std::string> args) const {
    args.insert(args.begin(), {"quantize", "model", "-o", out});
    return here(args);
  }
  Outcome calibrated(const std::string& out, std::vector<std::string> args) const {
    args.insert(args.end(), {"--group-size", "32", "--calib", "text.txt", "--n-samples", "4",
                             "--seq-len", "64", "--seed", "3"});
    return quantize(out, args);
  }
  /// Writes a recipe and follows it.
  Outcome follow(const std::string& recipe) const {
    write_file(folder_ / "recipe.json", recipe);
    return quantize("out", {"--recipe", "recipe.json"});
  }
  std::string file(const std::string& path) const { return read_file(folder_ / path); }

  void SetUp() override { write_file(folder_ / "text.txt", read_file(data_file("stories.txt"))); }
};

TEST_F(Recipes, MakeTheSameAgain) {
  const std::vector<std::vector<std::string>> runs = {
      {"--algorithm", "awq", "--w-bit", "3"},
      {"--algorithm", "awqplus", "--rounder", "gptq", "--exclude", "*.v_proj", "--exclude",
       "*.3.*"},
      {"--algorithm", "smoothquant", "--alpha", "0.7", "--precision", "w8a16"},
      {"--algorithm", "gptq", "--embedding", "int8"},
      {"--target-bpw", "4.5"},
      {"--algorithm", "best", "--effort", "max", "--shrinkage", "0.3"}};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    SCOPED_TRACE(::testing::PrintToString(runs[i]));
    const std::string first = "first" + std::to_string(i);
    const std::string again = "again" + std::to_string(i);
    expect_success(calibrated(first, runs[i]));
    expect_success(quantize(again, {"--recipe", first + "/recipe.json"}));
    for (const char* name : {"/model.safetensors", "/config.json", "/recipe.json"}) {
      EXPECT_TRUE(file(again + name) == file(first + name)) << name;
    }
  }
  EXPECT_NE(file("first1/model.safetensors"), file("first0/model.safetensors"));
}

TEST_F(Recipes, FlagsGoBeforeThem) {
  write_file(folder_ / "recipe.json", R"({"algorithm": "pergrp", "w_bit": 3, "group_size": 32})");
  expect_success(quantize("out", {"--recipe", "recipe.json", "--w-bit", "4"}));
  const Json recipe = Json::parse(file("out/recipe.json"));
  EXPECT_EQ(recipe["w_bit"], 4);
  EXPECT_EQ(recipe["group_size"], 32);
  EXPECT_EQ(recipe["head"], "quantized");
  EXPECT_FALSE(recipe.contains("calib"));
}

TEST_F(Recipes, SaySoWhereTheTextIsAnother) {
  expect_success(calibrated("out", {"--algorithm", "gptq"}));
  write_file(folder_ / "text.txt", "Another. " + file("text.txt"));
  const std::vector<std::string> again = {"--recipe", "out/recipe.json"};
  expect_failure(quantize("again", again), 1, {"out/recipe.json: made with tokens of sha256"});
  fs::remove(folder_ / "text.txt");
  expect_failure(quantize("again", again), 1, {"text.txt"});
  EXPECT_FALSE(fs::exists(folder_ / "again"));
  expect_success(
      quantize("again", {"--recipe", "out/recipe.json", "--calib", data_file("stories.txt")}));
}

TEST_F(Recipes, KeysAndValuesThatAreWrongAreNamed) {
  expect_failure(follow(R"({"w_bits": 3})"), 1,
                 {R"(recipe.json: "w_bits" is no key of a recipe; did you mean "w_bit"?)"});
  expect_failure(follow(R"({"zzzzzzzzzzzz": 3})"), 1, {R"("zzzzzzzzzzzz" is no key of a recipe)"});
  expect_failure(follow(R"({"w_bit": 5})"), 1, {R"(recipe.json: "w_bit": )"});
  expect_failure(follow(R"({"w_bit": "three"})"), 1, {R"(recipe.json: "w_bit": )"});
  expect_failure(follow(R"({"algorithm": "awk"})"), 1, {R"("algorithm": )", "awq"});
  expect_failure(follow(R"({"recipe": 2})"), 1, {"version 2, expected 1"});
  expect_failure(follow("[]"), 1, {"recipe.json"});
  expect_failure(quantize("out", {"--recipe", "none.json"}), 1, {"none.json"});
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(Recipes, AReportLiesBesideThem) {
  expect_success(calibrated("out", {"--algorithm", "best"}));
  const Json report = Json::parse(file("out/quantization_report.json"));
  EXPECT_GT(report["kl_divergence"]["held_out"], 0);
  EXPECT_GT(report["kl_divergence"]["calibrated_on"], 0);
  EXPECT_EQ(report["block_errors"].size(), 5U);
  const Json& tensors = report["tensors"];
  ASSERT_EQ(tensors.size(), 36U);
  EXPECT_GE(tensors[0]["rel_error"], tensors[35]["rel_error"]);
  const Outcome shown = calibrated("again", {"--algorithm", "best"});
  EXPECT_THAT(shown.out, HasSubstr("held-out text"));
  EXPECT_THAT(shown.out, HasSubstr(tensors[0]["name"].get<std::string>()));
  expect_success(quantize("pergrp", {"--group-size", "32"}));
  EXPECT_TRUE(Json::parse(file("pergrp/quantization_report.json"))["kl_divergence"].empty());
}

TEST_F(Recipes, GoWithExports) {
  expect_success(calibrated("out", {"--algorithm", "awq"}));
  for (const std::string to : {"hf", "awq"}) {
    expect_success(here({"export", "out", "--to", to, "-o", to}));
    EXPECT_EQ(file(to + "/recipe.json"), file("out/recipe.json"));
    EXPECT_TRUE(fs::exists(folder_ / to / "quantization_report.json"));
  }
  expect_success(here({"export", "out", "--to", "gguf", "-o", "out.gguf"}));
  EXPECT_EQ(GgufFile(folder_ / "out.gguf").get_string("nibble.recipe"), file("out/recipe.json"));
}

TEST_F(Recipes, AreShownByInspect) {
  expect_success(calibrated("out", {"--algorithm", "awq"}));
  EXPECT_THAT(here({"inspect", "out"}).out, HasSubstr("quantized by  awq; "));
  const Json recipe = Json::parse(here({"inspect", "out", "--json"}).out)["recipe"];
  EXPECT_EQ(recipe["n_samples"], 4);
  EXPECT_EQ(recipe["rounder"], "nearest");
  EXPECT_THAT(here({"inspect", "model"}).out, Not(HasSubstr("quantized by")));
}

}  // namespace
}  // namespace nibble::testing
