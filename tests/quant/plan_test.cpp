#include "nibble/quant/plan.h"

#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "nibble/models/architecture.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelSpec spec_of(int hidden, int intermediate) {
  const Json config = {{"hidden_size", hidden},
                       {"intermediate_size", intermediate},
                       {"num_hidden_layers", 2},
                       {"num_attention_heads", 2},
                       {"vocab_size", 40},
                       {"architectures", {"LlamaForCausalLM"}},
                       {"tie_word_embeddings", false},
                       {"model_type", "llama"}};
  const JsonObject object(config, "config.json");
  return find_architecture(object).make_spec(object);
}

std::vector<std::string> packed_names(const ModelSpec& spec, const QuantizeOptions& options) {
  std::vector<std::string> names;
  for (const LayerPlan& layer : plan_quantization(spec, options).layers) {
    if (layer.packed) names.push_back(layer.linear.name);
  }
  return names;
}

TEST(GroupSize, FallsBackToTheLargestThatDivides) {
  const WeightCodec& codec = codec_of(WeightFormat::kW4);
  EXPECT_EQ(usable_group_size(codec, 128, 4096), 128);
  EXPECT_EQ(usable_group_size(codec, 128, 192), 64);
  EXPECT_EQ(usable_group_size(codec, 128, 576), 64);
  EXPECT_EQ(usable_group_size(codec, 128, 96), 32);
  EXPECT_EQ(usable_group_size(codec, 64, 128), 64);
  EXPECT_EQ(usable_group_size(codec, 32, 128), 32);
  EXPECT_EQ(usable_group_size(codec, 128, 80), 0);
  EXPECT_EQ(usable_group_size(codec, 32, 48), 0);
  EXPECT_EQ(usable_group_size(codec_of(WeightFormat::kW8), 128, 128), 0);
}

TEST(QuantizePlan, NotesFallbacks) {
  const QuantizePlan plan = plan_quantization(spec_of(128, 192), {.group_size = 128});
  for (const LayerPlan& layer : plan.layers) {
    EXPECT_TRUE(layer.packed);
    const WeightLayout& layout = layer.layout;
    EXPECT_EQ(layout.group_size, layer.linear.in == 192 ? 64 : 128) << layer.linear.name;
    EXPECT_EQ(layout.format, WeightFormat::kW4);
    EXPECT_EQ(layout.rows, layer.linear.out);
    EXPECT_EQ(layout.cols, layer.linear.in);
  }
  EXPECT_THAT(plan.notes, ElementsAre(AllOf(HasSubstr("128"), HasSubstr("192 input features"),
                                            HasSubstr("64 for 2 layers"))));
  EXPECT_TRUE(plan_quantization(spec_of(128, 256), {.group_size = 64}).notes.empty());
  EXPECT_THAT(plan_quantization(spec_of(64, 64), {.group_size = 64, .outer_group_size = 128}).notes,
              ElementsAre("group size 128 does not divide 64 input features: 64 for 1 layer"));
}

TEST(QuantizePlan, NamesTheLayerThatNoGroupSizeDivides) {
  EXPECT_ERROR(plan_quantization(spec_of(64, 80), {}),
               AllOf(HasSubstr("model.layers.0.mlp.down_proj.weight"), HasSubstr("80")));
  EXPECT_EQ(packed_names(spec_of(64, 80), {.exclude = {"*down_proj"}}).size(), 2u * 6 + 1);
}

TEST(QuantizePlan, Excludes) {
  const ModelSpec spec = spec_of(64, 64);
  EXPECT_EQ(packed_names(spec, {}).size(), 2u * 7 + 1);
  EXPECT_EQ(packed_names(spec, {.exclude = {"lm_head"}}).size(), 14u);
  EXPECT_EQ(packed_names(spec, {.exclude = {"*"}}).size(), 0u);
  EXPECT_EQ(packed_names(spec, {.exclude = {"*.layers.0.*"}}).size(), 8u);
  EXPECT_EQ(packed_names(spec, {.exclude = {"*mlp*", "*q_proj"}}).size(), 7u);
  EXPECT_EQ(packed_names(spec, {.exclude = {"model.*.1.*.*_proj"}}).size(), 8u);
  for (const char* pattern : {"lm_hea", "m_head", "q_proj", "*q_prox", "", "*.layers.2.*"}) {
    EXPECT_ERROR(plan_quantization(spec, {.exclude = {pattern}}),
                 AllOf(HasSubstr("--exclude"), HasSubstr(pattern)));
  }
}

TEST(QuantizePlan, KeepsTheHeadDenseIfTold) {
  const ModelSpec spec = spec_of(64, 64);
  for (const LayerPlan& layer : plan_quantization(spec, {.quantize_head = false}).layers) {
    EXPECT_EQ(layer.packed, layer.linear.name != "lm_head");
  }
}

}  // namespace
}  // namespace nibble
