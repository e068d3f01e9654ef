// nibble export as users and scripts see it.
#include "cli/in_a_folder.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Export : public BesideAModel {};

TEST_F(Export, EveryFormIsTheSameStory) {
  expect_success(here({"export", "model", "--to", "gguf", "-o", "m.gguf", "-q"}));
  expect_success(here({"export", "m.gguf", "--to", "hf", "-o", "hf", "-q"}));
  const auto story = [&](const std::string& model) {
    return here({"run", model, "Once upon a time", "-n", "30", "-q"}).out;
  };
  const std::string expected = story("model");
  EXPECT_THAT(expected, HasSubstr(" "));
  EXPECT_EQ(story("m.gguf"), expected);
  EXPECT_EQ(story("hf"), expected);
}

TEST_F(Export, SaysWhatItCost) {
  expect_success(here({"quantize", "model", "-o", "w4", "--group-size", "32", "-q"}));
  const auto json =
      here({"export", "w4", "--to", "gguf", "--type", "Q4_1", "-o", "w4.gguf", "--json"}).json();
  EXPECT_EQ(json["output"], "w4.gguf");
  EXPECT_EQ(json["to"], "gguf");
  EXPECT_FALSE(json["notes"].empty());
  EXPECT_EQ(json["bytes_out"], fs::file_size(folder_ / "w4.gguf"));
  bool found = false;
  for (const auto& tensor : json["tensors"]) {
    if (tensor["name"] != "blk.0.attn_q.weight") continue;
    found = true;
    EXPECT_EQ(tensor["type"], "Q4_1");
    EXPECT_GT(tensor["rel_error"], 0.0);
    EXPECT_LT(tensor["rel_error"], 1e-3);
  }
  EXPECT_TRUE(found);
  const Outcome text = here({"export", "w4", "--to", "awq", "-o", "awq"});
  expect_success(text);
  EXPECT_THAT(text.out, HasSubstr("AWQ w4 g"));
  EXPECT_THAT(text.err, HasSubstr("the head"));
}

/// Scales folded into norms, searched clips, int8 of a channel: all of it is in what other tools
/// read. What is lost is the rounding of weights and norms to 16 bits: by 2^-10 of themselves
/// about, where 4 bits move them by a tenth; and distances go with the squares.
TEST_F(Export, OfCalibratedCheckpointsAreTheSameModel) {
  const auto distance = [&](const std::string& model) {
    const auto json = here({"eval", model, "--task", "perplexity", "--reference", "q", "--text",
                            stories_text().string(), "--seqlen", "64", "--n-segments", "4",
                            "--activations", "f32", "--kv", "f32", "--json"})
                          .json();
    return json["results"][0]["kl_divergence"].get<double>();
  };
  const std::vector<std::vector<std::string>> methods = {
      {"awq"}, {"best"}, {"smoothquant", "--precision", "w8a16"}, {"best", "--target-bpw", "4.5"}};
  for (const std::vector<std::string>& method : methods) {
    SCOPED_TRACE(method[0]);
    std::vector<std::string> args = {
        "quantize", "model",       "-o", "q",         "--force", "--group-size", "32",
        "-q",       "--n-samples", "4",  "--seq-len", "32",      "--algorithm"};
    args.insert(args.end(), method.begin(), method.end());
    expect_success(here(args));
    for (const std::string form : {"hf", "gguf", "awq"}) {
      if (form == "awq" && (method[0] == "smoothquant" || method.size() > 1)) continue;
      SCOPED_TRACE(form);
      const std::string out = form == "gguf" ? "x.gguf" : form;
      expect_success(here({"export", "q", "--to", form, "-o", out, "--force", "-q"}));
      EXPECT_LT(distance(out), 1e-4);
    }
  }
  EXPECT_GT(distance("model"), 1e-2);  // so the limit above tells one from another
}

TEST_F(Export, WhatExistsNeedsForce) {
  write_file(folder_ / "m.gguf", "mine");
  expect_failure(here({"export", "model", "--to", "gguf", "-o", "m.gguf"}), 1,
                 {"m.gguf", "--force"});
  EXPECT_EQ(read_file(folder_ / "m.gguf"), "mine");
  expect_success(here({"export", "model", "--to", "gguf", "-o", "m.gguf", "--force", "-q"}));
  fs::create_directory(folder_ / "hf");
  write_file(folder_ / "hf/mark", "");
  expect_failure(here({"export", "model", "--to", "hf", "-o", "hf"}), 1, {"hf", "--force"});
  expect_failure(here({"export", "model", "--to", "hf", "-o", "model", "--force"}), 1,
                 {"replace the model"});
  expect_failure(here({"export", "m.gguf", "--to", "gguf", "-o", "m.gguf", "--force"}), 1,
                 {"replace the model"});
  const std::string weights = read_file(model_ / "model.safetensors");
  expect_failure(
      here({"export", "model", "--to", "gguf", "-o", "model/model.safetensors", "--force"}), 1,
      {"model/model.safetensors", "replace the model"});
  EXPECT_EQ(read_file(model_ / "model.safetensors"), weights);
  write_file(model_ / "m.gguf", "an export of before");
  expect_success(here({"export", "model", "--to", "gguf", "-o", "model/m.gguf", "--force", "-q"}));
  expect_failure(here({"export", "model", "--to", "gguf", "-o", ""}), 1, {"output is empty"});
}

TEST_F(Export, WrongUsage) {
  expect_failure(here({"export", "model", "-o", "x"}), 2, {"--to"});
  expect_failure(here({"export", "model", "--to", "gguf"}), 2, {"--output"});
  expect_failure(here({"export", "model", "--to", "onnx", "-o", "x"}), 2, {"--to"});
  expect_failure(here({"export", "model", "--to", "hf", "--type", "Q8_0", "-o", "x"}), 2,
                 {"--type", "bf16 or f16"});
  expect_failure(here({"export", "model", "--to", "awq", "--type", "f16", "-o", "x"}), 2,
                 {"--type"});
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

TEST_F(Export, AwqTakesFourBitsOnly) {
  expect_failure(here({"export", "model", "--to", "awq", "-o", "x"}), 1, {"no layers of 4 bits"});
  expect_success(here({"quantize", "model", "-o", "w3", "--w-bit", "3", "-q"}));
  expect_failure(here({"export", "w3", "--to", "awq", "-o", "x"}), 1, {"has 3 bits"});
  EXPECT_EQ(listing(folder_.path()), (std::vector<std::string>{"model", "w3"}));
}

}  // namespace
}  // namespace nibble::testing
