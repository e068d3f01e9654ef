// Results that are no numbers end a generation, with the layer where the first one arose.
#include "nibble/runtime/finite.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error_matchers.h"
#include "models/edited_model.h"
#include "nibble/core/bfloat16.h"
#include "nibble/runtime/generate.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(AllFinite, FindsEachThatIsNot) {
  std::vector<float> values(1001, -1e38f);
  EXPECT_TRUE(all_finite(values));
  EXPECT_TRUE(all_finite({}));
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    for (const std::size_t at : {0u, 500u, 1000u}) {
      auto changed = values;
      changed[at] = bad;
      EXPECT_FALSE(all_finite(changed));
    }
  }
}

class NotFinite : public ::testing::Test {
 protected:
  /// Loads the model with the first elements of `name` changed to `value` and lets it write.
  static void run(const std::string& name, float value, std::size_t count = 1) {
    testing::EditedModel copy(testing::data_file("stories260K"));
    const BFloat16 element = to_bfloat16(value);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(copy.bytes(name).data() + 2 * i, &element, sizeof element);
    }
    ThreadPool pool(2);
    Model model(copy.write(), pool);
    const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
    KvCache cache = model.make_cache(64);
    Sequence sequence(tokenizer, model.spec(), tokenizer.encode("Once"), cache.capacity(),
                      {.max_tokens = 8});
    const Generation story = generate(model, cache, sequence, [](std::string_view) {});
    EXPECT_EQ(story.ids.size(), 8u);
  }
};

TEST_F(NotFinite, TheLayerIsNamed) {
  const auto names = [&](const std::string& name, const char* place) {
    EXPECT_ERROR(run(name, NAN), AllOf(HasSubstr("results are no numbers"), HasSubstr(place)));
  };
  names("model.layers.1.mlp.down_proj.weight",
        "layer 1: behind model.layers.1.mlp.down_proj, before model.layers.2.self_attn.q_proj");
  names("model.layers.2.self_attn.v_proj.weight",
        "layer 2: behind model.layers.2.self_attn.v_proj, before model.layers.2.self_attn.o_proj");
  names("model.layers.3.post_attention_layernorm.weight",
        "layer 3: model.layers.3.post_attention_layernorm.weight");
}

TEST_F(NotFinite, SumsThatPassTheRangeOfFloats) {
  EXPECT_ERROR(run("model.layers.0.mlp.up_proj.weight", 3e38f, 64),
               HasSubstr("which first arise in layer 0"));
}

// Scales of other tools' integers, whatever the activations and the cache are rounded to: a number
// that is none is not lost on the way through int8.
TEST_F(NotFinite, ScalesAreFollowedThroughInt8) {
  testing::EditedModel copy(testing::test_file("models/fixtures/quantized/gptq4_g32_act"));
  std::string& scales = copy.bytes("model.layers.0.self_attn.v_proj.scales");
  const std::uint16_t nan = 0x7e00;  // float16
  std::memcpy(scales.data() + 2 * 3, &nan, sizeof nan);
  const auto folder = copy.write();
  for (const auto activations :
       {ActivationType::kF32, ActivationType::kBF16, ActivationType::kInt8}) {
    for (const auto kv : {KvType::kBF16, KvType::kInt8}) {
      ThreadPool pool(1);
      Model model(folder, pool, {.activations = activations, .kv = kv});
      KvCache cache = model.make_cache(8);
      std::vector<float> logits(static_cast<std::size_t>(model.spec().vocab));
      const std::vector<std::int32_t> tokens = {1, 2, 3};
      model.forward_last(tokens, cache, logits.data());
      EXPECT_ERROR(check_finite(model, logits, tokens),
                   HasSubstr("layer 0: behind model.layers.0.self_attn.v_proj"));
    }
  }
}

TEST_F(NotFinite, GoodOnesGoOn) {
  run("model.layers.1.mlp.down_proj.weight", 0.25f);
}

}  // namespace
}  // namespace nibble
