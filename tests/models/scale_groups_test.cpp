// Which scales can be moved in a decoder block, by what its spec says of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "models/architecture_configs.h"
#include "nibble/models/architecture.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using testing::opt_config;
using testing::rotary_config;
using Inspected = ScaleGroup::Inspected;

/// "norm > q k v (attention)" for each group.
std::vector<std::string> groups_of(const Json& config) {
  static const std::map<ModuleRole, std::string> names = {{ModuleRole::kInputNorm, "norm"},
                                                          {ModuleRole::kPostNorm, "post_norm"},
                                                          {ModuleRole::kQ, "q"},
                                                          {ModuleRole::kK, "k"},
                                                          {ModuleRole::kV, "v"},
                                                          {ModuleRole::kO, "o"},
                                                          {ModuleRole::kGate, "gate"},
                                                          {ModuleRole::kUp, "up"},
                                                          {ModuleRole::kDown, "down"}};
  std::vector<std::string> all;
  const JsonObject object(config, "config");
  for (const ScaleGroup& group : find_architecture(object).make_spec(object).scale_groups()) {
    std::string text = names.at(group.before) + " >";
    for (const ModuleRole role : group.layers) text += " " + names.at(role);
    if (group.inspected == Inspected::kAttention) text += " (attention)";
    if (group.inspected == Inspected::kMlp) text += " (mlp)";
    all.push_back(text);
  }
  return all;
}

TEST(ScaleGroups, OfModelsLikeLlama) {
  EXPECT_THAT(
      groups_of(rotary_config("LlamaForCausalLM", {{"num_key_value_heads", 4}})),
      ElementsAre("norm > q k v (attention)", "v > o", "post_norm > gate up (mlp)", "up > down"));
}

TEST(ScaleGroups, ValuesThatHeadsShareTakeNone) {
  for (const char* name : {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
                           "MistralForCausalLM", "GemmaForCausalLM"}) {
    EXPECT_THAT(groups_of(rotary_config(name)),
                ElementsAre("norm > q k v (attention)", "post_norm > gate up (mlp)", "up > down"))
        << name;
  }
}

TEST(ScaleGroups, OfOpt) {
  EXPECT_THAT(groups_of(opt_config()),
              ElementsAre("norm > q k v (attention)", "v > o", "post_norm > up", "up > down"));
}

// The norm's output is in the residual stream too, or there is nothing to divide, or the activation
// is not linear for values above 0.
TEST(ScaleGroups, ThoseThatWouldChangeTheModelAreLeftOut) {
  EXPECT_THAT(groups_of(opt_config({{"do_layer_norm_before", false}})),
              ElementsAre("v > o", "up > down"));
  EXPECT_THAT(groups_of(opt_config({{"layer_norm_elementwise_affine", false}})),
              ElementsAre("v > o", "up > down"));
  EXPECT_THAT(groups_of(opt_config({{"activation_function", "gelu"}})),
              ElementsAre("norm > q k v (attention)", "v > o", "post_norm > up"));
}

}  // namespace
}  // namespace nibble
