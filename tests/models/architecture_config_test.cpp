// What the configs of other architectures than Llama mean, and which are refused.
#include <gmock/gmock.h>

#include <functional>

#include "core/error_matchers.h"
#include "models/architecture_configs.h"
#include "nibble/models/architecture.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::opt_config;
using testing::rotary_config;

ModelSpec spec_of(const Json& config) {
  const JsonObject object(config, "config.json");
  return find_architecture(object).make_spec(object);
}

RopeSpec rope_of(const Json& changes) {
  return *spec_of(rotary_config("LlamaForCausalLM", changes)).rope;
}

// transformers 5, RotaryEmbeddingConfigMixin.convert_rope_params_to_dict().
TEST(RopeConfig, TheOlderKeyWins) {
  const Json linear = {{"type", "linear"}, {"factor", 2.0}};
  const Json plain = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  const RopeSpec both = rope_of({{"rope_scaling", linear}, {"rope_parameters", plain}});
  EXPECT_EQ(both.scaling, RopeSpec::Scaling::kLinear);
  EXPECT_EQ(both.theta, 10000.0);  // what the other says counts no more
  EXPECT_EQ(rope_of({{"rope_scaling", linear}, {"rope_theta", 3e5}}).theta, 3e5);
  for (const Json& nothing : {Json(nullptr), Json::object()}) {
    EXPECT_EQ(rope_of({{"rope_scaling", nothing}, {"rope_parameters", plain}}).theta, 5e5);
  }
  EXPECT_ERROR(rope_of({{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}}},
                        {"rope_parameters", plain}}),
               AllOf(HasSubstr("\"rope_scaling\""), HasSubstr("\"yarn\"")));
  EXPECT_ERROR(rope_of({{"rope_parameters", {{"full_attention", plain}}}}),
               HasSubstr("\"full_attention\" are not supported"));
}

TEST(RopeConfig, TheContextOfLlama3IsTheModelsWhereItIsNotSaid) {
  Json llama3 = {
      {"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}};
  EXPECT_EQ(rope_of({{"rope_scaling", llama3}}).original_context, 64);
  llama3["original_max_position_embeddings"] = 32;
  EXPECT_EQ(rope_of({{"rope_scaling", llama3}}).original_context, 32);
}

// Mixtral's and Mistral's configs write what is not said as null.
TEST(Defaults, NullIsNotSaid) {
  const ModelSpec spec = spec_of(rotary_config(
      "LlamaForCausalLM", {{"head_dim", nullptr}, {"rope_scaling", nullptr}, {"eos_token_id", 5}}));
  EXPECT_EQ(spec.head_dim, 16);
  EXPECT_EQ(spec.n_kv_heads, 2);
  EXPECT_EQ(
      spec_of(rotary_config("LlamaForCausalLM", {{"num_key_value_heads", nullptr}})).n_kv_heads, 4);
}

// The defaults of transformers' classes: Mistral's are 8 heads for keys, say, not as many as heads.
TEST(Defaults, AreThoseOfTheModelsClass) {
  const auto bare = [](const char* name) {
    return spec_of({{"architectures", {name}}, {"model_type", "x"}});
  };
  const ModelSpec llama = bare("LlamaForCausalLM");
  EXPECT_EQ(llama.n_layers, 32);
  EXPECT_EQ(llama.n_kv_heads, 32);
  EXPECT_EQ(llama.vocab, 32000);
  EXPECT_EQ(llama.bos, 1);
  EXPECT_THAT(llama.eos, ElementsAre(2));
  EXPECT_EQ(bare("MistralForCausalLM").n_kv_heads, 8);
  EXPECT_EQ(bare("MistralForCausalLM").intermediate, 14336);
  EXPECT_EQ(bare("GemmaForCausalLM").n_layers, 28);
  EXPECT_THAT(bare("GemmaForCausalLM").eos, ElementsAre(1));
  EXPECT_EQ(bare("Qwen2ForCausalLM").vocab, 151936);
  EXPECT_THAT(bare("Qwen2ForCausalLM").eos, IsEmpty());
  EXPECT_EQ(bare("Qwen3ForCausalLM").q.out, 32 * 128);
  EXPECT_EQ(bare("OPTForCausalLM").vocab, 50272);
  EXPECT_THAT(bare("OPTForCausalLM").eos, ElementsAre(2));
}

TEST(SpecialIds, ThatAreNoTokensAreLeftOut) {
  const auto eos = [](const Json& value) {
    return spec_of(rotary_config("LlamaForCausalLM", {{"eos_token_id", value}})).eos;
  };
  EXPECT_THAT(eos(nullptr), IsEmpty());  // none, not the default
  EXPECT_THAT(eos(-1), IsEmpty());
  EXPECT_THAT(eos({3, -1, 5, 1LL << 40}), ElementsAre(3, 5));
  EXPECT_EQ(spec_of(rotary_config("LlamaForCausalLM", {{"bos_token_id", -1}})).bos, std::nullopt);
  EXPECT_ERROR(eos("2"), HasSubstr("\"eos_token_id\" must hold token ids, which are integers"));
}

TEST(WindowConfig, OfQwenIsForTheLastLayersIfItIsUsed) {
  for (const char* name : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    Json config = rotary_config(name, {{"num_hidden_layers", 3}});
    EXPECT_THAT(spec_of(config).windows, IsEmpty());
    config.update({{"sliding_window", 8}, {"max_window_layers", 2}});
    EXPECT_THAT(spec_of(config).windows, IsEmpty());  // not used
    config["use_sliding_window"] = true;
    EXPECT_THAT(spec_of(config).windows, ElementsAre(0, 0, 8));
    config["max_window_layers"] = 0;
    EXPECT_THAT(spec_of(config).windows, ElementsAre(8, 8, 8));
    config["sliding_window"] = nullptr;
    EXPECT_THAT(spec_of(config).windows, IsEmpty());
    config.erase("sliding_window");
    EXPECT_THAT(spec_of(config).windows, ElementsAre(4096, 4096, 4096));  // transformers' default
  }
}

TEST(WindowConfig, LayerTypesWin) {
  Json config =
      rotary_config("Qwen2ForCausalLM", {{"use_sliding_window", true},
                                         {"sliding_window", 8},
                                         {"max_window_layers", 2},
                                         {"layer_types", {"sliding_attention", "full_attention"}}});
  EXPECT_THAT(spec_of(config).windows, ElementsAre(8, 0));
  config["use_sliding_window"] = false;
  EXPECT_ERROR(spec_of(config), AllOf(HasSubstr("config.json"), HasSubstr("layer_types"),
                                      HasSubstr("no \"sliding_window\"")));
  config["layer_types"] = {"full_attention", "full_attention"};
  EXPECT_THAT(spec_of(config).windows, IsEmpty());
  config["layer_types"] = {"full_attention", "linear_attention"};
  EXPECT_ERROR(spec_of(config), AllOf(HasSubstr("layer_types"), HasSubstr("linear_attention")));
  config["layer_types"] = {"full_attention"};
  EXPECT_ERROR(spec_of(config),
               AllOf(HasSubstr("layer_types"), HasSubstr("= 2 names, found 1 of them")));
  config["layer_types"] = {"full_attention", 3};
  EXPECT_ERROR(spec_of(config), HasSubstr("layer_types"));
  config["layer_types"] = "full_attention";
  EXPECT_ERROR(spec_of(config), AllOf(HasSubstr("layer_types"), HasSubstr("found string")));
}

TEST(WindowConfig, OfMistralIsForAllLayersAndNullIsNone) {
  Json config = rotary_config("MistralForCausalLM", {{"sliding_window", 8}});
  EXPECT_THAT(spec_of(config).windows, ElementsAre(8, 8));
  config["sliding_window"] = nullptr;
  EXPECT_THAT(spec_of(config).windows, IsEmpty());
  config.erase("sliding_window");
  EXPECT_THAT(spec_of(config).windows, ElementsAre(4096, 4096));
  for (const Json& bad : {Json(0), Json(-4), Json("8"), Json(2.5)}) {
    config["sliding_window"] = bad;
    EXPECT_ERROR(spec_of(config), AllOf(HasSubstr("config.json"), HasSubstr("sliding_window")));
  }
}

TEST(GemmaConfig, TheFirstReleasesMeantTheApproximation) {
  Json config = rotary_config("GemmaForCausalLM");
  EXPECT_EQ(spec_of(config).activation, Activation::kGeluTanh);
  for (const char* name : {"gelu", "gelu_pytorch_tanh"}) {
    config["hidden_act"] = name;
    EXPECT_EQ(spec_of(config).activation, Activation::kGeluTanh);
  }
  config["hidden_activation"] = "silu";
  EXPECT_EQ(spec_of(config).activation, Activation::kSilu);
  EXPECT_TRUE(spec_of(config).tied_head);
  EXPECT_EQ(spec_of(config).head_dim, 256);
}

TEST(GemmaConfig, LaterOnesAreRefusedByName) {
  for (const char* name : {"Gemma2ForCausalLM", "Gemma3ForCausalLM"}) {
    EXPECT_ERROR(spec_of(rotary_config(name)),
                 AllOf(HasSubstr("config.json"), HasSubstr(name), HasSubstr("GemmaForCausalLM")));
  }
  EXPECT_ERROR(spec_of({{"model_type", "gemma2"}}),
               AllOf(HasSubstr("gemma2"), HasSubstr("supported: llama")));
  EXPECT_ERROR(spec_of(rotary_config("GemmaForCausalLM", {{"use_bidirectional_attention", true}})),
               HasSubstr("use_bidirectional_attention"));
}

TEST(OptConfig, Means) {
  const ModelSpec plain = spec_of(opt_config());
  EXPECT_TRUE(plain.tied_head && plain.norm_first && plain.q.bias && plain.down.bias);
  EXPECT_FALSE(plain.gate || plain.rope || plain.project_in || plain.project_out);
  EXPECT_EQ(plain.positions->rows, 66);
  EXPECT_EQ(plain.final_norm, "model.decoder.final_layer_norm");
  EXPECT_EQ(spec_of(opt_config({{"_remove_final_layer_norm", true}})).final_norm, "");
  EXPECT_EQ(spec_of(opt_config({{"do_layer_norm_before", false}})).final_norm, "");
  EXPECT_EQ(spec_of(opt_config({{"word_embed_proj_dim", 32}})).head.in, 32);
  EXPECT_ERROR(spec_of(opt_config({{"num_attention_heads", 7}})),
               AllOf(HasSubstr("num_attention_heads"), HasSubstr("7"), HasSubstr("64")));
  EXPECT_ERROR(spec_of(opt_config({{"activation_function", "tanh"}})),
               AllOf(HasSubstr("activation_function"), HasSubstr("\"tanh\""), HasSubstr("relu")));
  EXPECT_ERROR(spec_of(opt_config({{"ffn_dim", nullptr}})), HasSubstr("ffn_dim"));
}

}  // namespace
}  // namespace nibble
