// Metadata of GGUF files that stands elsewhere or in another form than today's converter writes it:
// what llama.cpp makes of it, or a refusal by the key's name.
#include <gmock/gmock.h>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/edited_gguf.h"
#include "models/fixtures.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/gguf_model.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::edit_gguf;
using ::testing::ElementsAre;
using testing::GgufEdit;
using ::testing::HasSubstr;

class GgufSettings : public ::testing::Test {
 protected:
  /// A copy of fixture `name`, opened.
  Checkpoint open(const char* name, const GgufEdit& edit) {
    const fs::path file = folder_ / "model.gguf";
    fs::remove(file);
    edit_gguf(kFixtures / name / "model.gguf", file, edit);
    return Checkpoint(file);
  }
  RopeSpec rope(const char* name, const GgufEdit& edit) { return *open(name, edit).spec().rope; }

  testing::TemporaryFolder folder_;
};

constexpr const char* kType = "llama.rope.scaling.type";
constexpr const char* kFactor = "llama.rope.scaling.factor";

TEST_F(GgufSettings, LinearScalingUnderOlderKeysAndWithoutAType) {
  const RopeSpec whole = rope("gguf_f32_biases", {});
  ASSERT_EQ(whole.scaling, RopeSpec::Scaling::kLinear);
  const auto factor = static_cast<float>(whole.factor);
  EXPECT_EQ(rope("gguf_f32_biases", {.drop = {kType}}).factor, whole.factor);
  const RopeSpec old = rope("gguf_f32_biases", {.drop = {kType, kFactor}, .set = [&](auto& keys) {
                                                  keys.set_float("llama.rope.scale_linear", factor);
                                                }});
  EXPECT_EQ(old.scaling, RopeSpec::Scaling::kLinear);
  EXPECT_EQ(old.factor, whole.factor);
  for (const GgufEdit& none :
       {GgufEdit{.drop = {kType}, .set = [](auto& keys) { keys.set(kType, "none"); }},
        GgufEdit{.drop = {kFactor}, .set = [](auto& keys) { keys.set_float(kFactor, 0); }},
        GgufEdit{.drop = {kType, kFactor}, .set = [](auto& keys) { keys.set(kType, "yarn"); }}}) {
    EXPECT_EQ(rope("gguf_f32_biases", none).scaling, RopeSpec::Scaling::kNone);
  }
}

TEST_F(GgufSettings, LinearScalingBesideFactors) {
  const RopeSpec whole = rope("gguf_rope_freqs_llama", {});
  const RopeSpec both = rope("gguf_rope_freqs_llama", {.set = [](auto& keys) {
                               keys.set(kType, "linear");
                               keys.set_float(kFactor, 4);
                             }});
  ASSERT_EQ(both.factors.size(), whole.factors.size());
  for (std::size_t i = 0; i < whole.factors.size(); ++i) {
    EXPECT_EQ(both.factors[i], 4 * whole.factors[i]);
  }
}

TEST_F(GgufSettings, WhatIsNotComputedIsRefusedByItsKey) {
  const auto refuses = [&](const char* name, auto set, const char* message) {
    EXPECT_ERROR(open(name, {.drop = {kType, "general.type"}, .set = set}), HasSubstr(message));
  };
  const char* linear = "gguf_f32_biases";
  refuses(
      linear, [](auto& keys) { keys.set(kType, "yarn"); }, "\"llama.rope.scaling.type\" \"yarn\"");
  refuses(
      "gguf_rope_freqs_llama",
      [](auto& keys) {
        keys.set(kType, "yarn");
        keys.set_float(kFactor, 4);
      },
      "\"llama.rope.scaling.type\" \"yarn\"");
  refuses(
      linear, [](auto& keys) { keys.set_float("llama.rope.scaling.attn_factor", 2); },
      "llama.rope.scaling.attn_factor");
  refuses(
      linear, [](auto& keys) { keys.set_bool("llama.attention.causal", false); },
      "llama.attention.causal");
  refuses(
      linear, [](auto& keys) { keys.set("general.type", "adapter"); },
      "\"general.type\" is \"adapter\"");
  refuses(
      linear, [](auto& keys) { keys.set_uint("llama.expert_count", 8); }, "mixture-of-experts");
}

TEST_F(GgufSettings, SizesMayBeOneABlock) {
  constexpr const char* kKey = "llama.attention.head_count_kv";
  const ModelSpec whole = open("gguf_f32_biases", {}).spec();
  const auto heads = static_cast<std::int32_t>(whole.n_kv_heads);
  const auto with = [&](std::vector<std::int32_t> sizes) {
    return open("gguf_f32_biases",
                {.drop = {kKey}, .set = [&](auto& keys) { keys.set_ints(kKey, sizes); }});
  };
  EXPECT_EQ(with({heads, heads}).spec().n_kv_heads, whole.n_kv_heads);
  EXPECT_ERROR(with({heads, heads + 1}), HasSubstr("head_count_kv\" differs from block to block"));
  EXPECT_ERROR(with({}), HasSubstr("head_count_kv"));
}

// A number that is no token's is left out; SentencePiece's have customary places.
TEST_F(GgufSettings, SpecialIdsThatAreNoTokens) {
  constexpr const char* kEos = "tokenizer.ggml.eos_token_id";
  constexpr const char* kBos = "tokenizer.ggml.bos_token_id";
  constexpr const char* kPad = "tokenizer.ggml.padding_token_id";
  for (const std::uint32_t bad : {UINT32_MAX, 1u << 20}) {
    const auto set = [&](auto& keys) {
      for (const char* key : {kEos, kBos, kPad}) keys.set_uint(key, bad);
    };
    const Checkpoint llama =
        open("gguf_rope_freqs_llama", {.drop = {kEos, kBos, kPad}, .set = set});
    EXPECT_EQ(llama.spec().bos, 1);
    EXPECT_THAT(llama.spec().eos, ElementsAre(2));
    EXPECT_EQ(llama.load_tokenizer().eos_id(), 2);
    const Checkpoint gpt2 = open("gguf_mixed_gpt2", {.drop = {kEos, kBos, kPad}, .set = set});
    EXPECT_EQ(gpt2.spec().bos, std::nullopt);
    EXPECT_EQ(gpt2.load_tokenizer().eos_id(), std::nullopt);
  }
  EXPECT_EQ(open("gguf_rope_freqs_llama", {.drop = {kEos, kBos}}).spec().bos, 1);
}

TEST_F(GgufSettings, EveryEndOfATextIsOne) {
  const auto ends = [&](const char* last_token) {
    return open("gguf_rope_freqs_llama",
                {.drop = {"tokenizer.ggml.tokens"},
                 .set =
                     [&](auto& keys) {
                       const GgufFile file(kFixtures / "gguf_rope_freqs_llama" / "model.gguf");
                       const auto views = file.get_strings("tokenizer.ggml.tokens");
                       std::vector<std::string> tokens(views.begin(), views.end());
                       tokens[5] = last_token;
                       keys.set_strings("tokenizer.ggml.tokens", tokens);
                       keys.set_uint("tokenizer.ggml.eot_token_id", 7);
                       keys.set_uint("tokenizer.ggml.eom_token_id", 9);
                       keys.set_ints(kGgufMoreEnds, std::vector<std::int32_t>{11, 7, 1 << 20});
                     }})
        .spec()
        .eos;
  };
  EXPECT_THAT(ends("x"), ElementsAre(2, 7, 9, 11));
  EXPECT_THAT(ends("<|im_end|>"), ElementsAre(2, 7, 9, 11, 5));
}

}  // namespace
}  // namespace nibble
