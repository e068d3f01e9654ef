// AWQ's searches in files: our own, written and read again, those of llm-awq, and what is refused.
#include "nibble/quant/transforms/awq_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/architecture_configs.h"
#include "nibble/formats/npy.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/models/architecture.h"
#include "nibble/models/checkpoint.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::testing::HasSubstr;

const fs::path kZoo = testing::test_file("quant/fixtures/transforms/awq_zoo.pt");

ModelSpec make_spec(const Json& config) {
  const JsonObject object(config, "config");
  return find_architecture(object).make_spec(object);
}

ModelSpec small_spec() {
  return make_spec(testing::rotary_config("LlamaForCausalLM"));
}

std::vector<float> numbers(std::size_t count, float first) {
  std::vector<float> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = first + static_cast<float>(i) / 7;
  return all;
}

AwqSearch small_search() {
  AwqSearch search{.bits = 3, .blocks = std::vector<AwqBlock>(2)};
  const std::vector<ScaleGroup> groups = small_spec().scale_groups();
  search.blocks[0].scales = {
      {.group = groups[0], .scales = numbers(64, 1), .ratio = 0.35, .losses = {}},
      {.group = groups[2], .scales = numbers(96, 2), .ratio = {}, .losses = {3, 2}}};
  search.blocks[1].scales = {
      {.group = groups[1], .scales = numbers(64, 3), .ratio = 0.0, .losses = {}}};
  search.blocks[1].clips = {{ModuleRole::kDown, 3, numbers(64 * 3, 4)},
                            {ModuleRole::kV, 2, numbers(32 * 2, 5)}};
  return search;
}

class AwqFile : public ::testing::Test {
 protected:
  AwqSearch read(const ModelSpec& spec) { return read_awq_search(path_, spec); }

  /// Writes a file of these tensors of ones, described by `search`.
  void write(const std::map<std::string, std::vector<std::int64_t>>& tensors, const Json& search,
             float value = 1) {
    std::vector<TensorDeclaration> declarations;
    for (const auto& [name, shape] : tensors) declarations.push_back({name, DType::kF32, shape});
    SafetensorsWriter writer(
        path_, declarations,
        {{"format", "nibble-awq"}, {"version", "1"}, {"search", search.dump()}});
    for (const auto& [name, shape] : tensors) {
      std::size_t count = 1;
      for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
      const std::vector<float> values(count, value);
      writer.append(name, std::as_bytes(std::span(values)));
    }
    writer.commit();
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_ / "search.safetensors";
};

TEST_F(AwqFile, GivesBackWhatWasWritten) {
  const AwqSearch search = small_search();
  write_awq_search(path_, small_spec(), search);
  const AwqSearch found = read(small_spec());
  EXPECT_EQ(found.bits, 3);
  ASSERT_EQ(found.blocks.size(), 2U);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const AwqBlock& block = found.blocks[layer];
    const AwqBlock& expected = search.blocks[layer];
    ASSERT_EQ(block.scales.size(), expected.scales.size());
    for (std::size_t i = 0; i < block.scales.size(); ++i) {
      EXPECT_EQ(block.scales[i].group.before, expected.scales[i].group.before);
      EXPECT_EQ(block.scales[i].group.layers, expected.scales[i].group.layers);
      EXPECT_EQ(block.scales[i].scales, expected.scales[i].scales);
      EXPECT_EQ(block.scales[i].ratio, expected.scales[i].ratio);
    }
    ASSERT_EQ(block.clips.size(), expected.clips.size());
    for (std::size_t i = 0; i < block.clips.size(); ++i) {
      EXPECT_EQ(block.clips[i].layer, expected.clips[i].layer);
      EXPECT_EQ(block.clips[i].groups, expected.clips[i].groups);
      EXPECT_EQ(block.clips[i].bounds, expected.clips[i].bounds);
    }
  }
}

TEST_F(AwqFile, ReadsWhatLlmAwqSaves) {
  const Checkpoint stories(testing::data_file("stories260K"));
  const AwqSearch found = read_awq_search(kZoo, stories.spec());
  EXPECT_EQ(found.bits, 0);
  ASSERT_EQ(found.blocks.size(), 5U);
  const AwqBlock& block = found.blocks[0];
  ASSERT_EQ(block.scales.size(), 3U);
  EXPECT_EQ(block.scales[0].group.before, ModuleRole::kInputNorm);
  EXPECT_EQ(block.scales[0].scales.size(), 64U);
  EXPECT_EQ(block.scales[2].group.layers, std::vector{ModuleRole::kDown});
  EXPECT_EQ(block.scales[2].scales.size(), 192U);
  ASSERT_EQ(block.clips.size(), 1U);
  EXPECT_EQ(block.clips[0].layer, ModuleRole::kO);
  EXPECT_EQ(block.clips[0].groups, 2);
  EXPECT_EQ(
      block.clips[0].bounds,
      NpyFile(testing::test_file("quant/fixtures/transforms/awq_o_proj_bounds.npy")).floats());
  EXPECT_TRUE(found.blocks[1].scales.empty());
}

TEST_F(AwqFile, ThoseOfOtherModelsAreRefused) {
  EXPECT_ERROR(read_awq_search(kZoo, make_spec(testing::opt_config())),
               HasSubstr("awq_zoo.pt: \"model.layers.0.input_layernorm\" is no module"));
  EXPECT_ERROR(read_awq_search(kZoo, small_spec()), HasSubstr("192 scales behind"));
  write_awq_search(path_, small_spec(), small_search());
  EXPECT_ERROR(
      read(make_spec(testing::rotary_config("LlamaForCausalLM", {{"hidden_size", 128}}))),
      HasSubstr("search.safetensors: 64 scales behind \"model.layers.0.input_layernorm\""));
}

TEST_F(AwqFile, WhatDoesNotFitIsRefused) {
  const std::string norm = "model.layers.0.input_layernorm";
  const std::string up = "model.layers.0.mlp.up_proj";
  const std::string down = "model.layers.0.mlp.down_proj";
  const Json up_scale = {{"before", up}, {"layers", {down}}};
  const auto search = [](const Json& scales) { return Json{{"bits", 4}, {"scales", scales}}; };
  const auto expect = [&](const std::string& message) {
    EXPECT_ERROR(read(small_spec()), HasSubstr(message));
  };
  write({{up + ".scale", {96}}}, search(Json::array({up_scale})), 0);
  expect("a scale behind \"" + up + "\" is not above 0");
  for (const float extreme : {1e-30F, 3e38F}) {
    write({{up + ".scale", {96}}}, search(Json::array({up_scale})), extreme);
    expect("a scale behind \"" + up + "\" is " + (extreme < 1 ? "1e-30" : "3e+38"));
  }
  write({}, search(Json::array()));
  expect("has neither scales nor bounds");
  write({{up + ".scale", {96}}}, search(Json::array({up_scale})), INFINITY);
  expect("is not finite");
  write({{up + ".scale", {95}}}, search(Json::array({up_scale})));
  expect("95 scales behind \"" + up + "\", expected 96");
  write({{up + ".scale", {96}}}, search(Json::array({up_scale, up_scale})));
  expect("\"" + up + "\" comes twice");
  write({{norm + ".scale", {64}}}, search(Json::array({{{"before", norm}, {"layers", {down}}}})));
  expect("which this model cannot take from \"" + norm + "\"");
  write({}, search(Json::array({up_scale})));
  expect("model.layers.0.mlp.up_proj.scale");
  write({{"lm_head.scale", {96}}},
        search(Json::array({{{"before", "lm_head"}, {"layers", {down}}}})));
  expect("\"lm_head\" is no module of a decoder block");
  write({}, search(Json::array({{{"before", up}}})));
  expect("\"layers\"");
  write({{down + ".bounds", {64, 5}}}, search(Json::array()));
  expect("bounds of \"" + down + "\" of shape [64, 5]");
  write({{down + ".bounds", {63, 3}}}, search(Json::array()));
  expect("bounds of \"" + down + "\"");
  write({{down + ".bounds", {64, 3}}}, search(Json::array()), -1);
  expect("below 0");
  write({{"model.norm.bounds", {64, 3}}}, search(Json::array()));
  expect("\"model.norm\" is no module");
  testing::write_file(path_, "nothing of the kind");
  expect("search.safetensors");
  EXPECT_ERROR(
      read_awq_search(testing::test_file("quant/fixtures/transforms/act_scales.pt"), small_spec()),
      HasSubstr("has no \"scale\", so not a search that llm-awq saved"));
}

}  // namespace
}  // namespace nibble
