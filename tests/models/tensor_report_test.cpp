// What is said of tensors that nobody reads, and of those that are not there.
#include "nibble/models/tensor_report.h"

#include <gmock/gmock.h>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/edited_gguf.h"
#include "models/edited_model.h"
#include "models/fixtures.h"
#include "models/logits.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::EditedModel;
using ::testing::HasSubstr;

/// Loads the model, as whoever runs it does, and gives what is said on standard error.
std::string load(const fs::path& path) {
  ::testing::internal::CaptureStderr();
  try {
    const Checkpoint checkpoint(path);
    ThreadPool pool(1);
    Compute compute(select_kernels(), pool);
    const Decoder decoder(checkpoint, compute, DType::kBF16);
    report_unread_tensors(checkpoint);
  } catch (...) {
    ::testing::internal::GetCapturedStderr();
    throw;
  }
  return ::testing::internal::GetCapturedStderr();
}

TEST(UnreadTensors, OfAFolderAreRemarked) {
  EditedModel model(kFixtures / "untied_gqa");
  EXPECT_EQ(load(model.write()), "");
  for (const char* layer : {"0", "1"}) {
    model.add_ones("model.layers." + std::string(layer) + ".self_attn.q_proj.bias", {24});
    model.add_ones("model.layers." + std::string(layer) + ".self_attn.rotary_emb.inv_freq", {3});
  }
  model.add_ones("model.mtp.weight", {2});
  EXPECT_THAT(load(model.write()),
              AllOf(HasSubstr("3 tensors that LlamaForCausalLM"), HasSubstr("left out"),
                    HasSubstr("\"model.layers.*.self_attn.q_proj.bias\", \"model.mtp.weight\"")));
}

TEST(UnreadTensors, OfAGgufFileAreRefused) {
  const testing::TemporaryFolder folder;
  for (const char* fixture : {"gguf_f32_biases", "gguf_mixed_gpt2", "gguf_rope_freqs_llama"}) {
    EXPECT_NO_THROW(load(kFixtures / fixture / "model.gguf")) << fixture;
  }
  testing::edit_gguf(kFixtures / "gguf_f32_biases" / "model.gguf", folder / "a.gguf",
                     {.tensors = {"blk.0.attn_q_norm.weight", "blk.1.attn_q_norm.weight"}});
  EXPECT_ERROR(load(folder / "a.gguf"),
               AllOf(HasSubstr("a.gguf: 2 tensors that LlamaForCausalLM does not have"),
                     HasSubstr("\"blk.*.attn_q_norm.weight\"")));
}

TEST(MissingTensors, SayWhatIsThereInTheirPlace) {
  const std::string q = "model.layers.0.self_attn.q_proj";
  const auto refuses = [&](const std::string& without, const std::vector<std::string>& with,
                           const char* message) {
    EditedModel model(kFixtures / "untied_gqa");
    model.remove(without);
    for (const std::string& name : with) model.add_ones(name, {2});
    EXPECT_ERROR(load(model.write()),
                 AllOf(HasSubstr("\"" + without + "\" is missing"), HasSubstr(message)));
  };
  refuses(q + ".weight", {q + ".base_layer.weight", q + ".lora_A.default.weight"},
          "the module has \"base_layer.weight\", \"lora_A.default.weight\", a form");
  refuses(q + ".weight", {"language_model." + q + ".weight"},
          "there is \"language_model.model.layers.0.self_attn.q_proj.weight\"");
  refuses(q + ".weight", {"model.layers.0.self_attn.qkv_proj.weight"},
          "model.layers.0.self_attn has \"k_proj.weight\", \"o_proj.weight\", \"qkv_proj.weight\"");
}

// What a head is that has weights of its own where config.json says that it has none.
TEST(TiedHead, WithItsOwnWeightsIsNotTied) {
  EditedModel model(kFixtures / "tied_f32");
  const Checkpoint tied(model.write());
  ASSERT_TRUE(tied.spec().tied_head);
  const auto shape = tied.tensors().find("model.embed_tokens.weight")->view.shape;
  model.copy("model.embed_tokens.weight", "lm_head.weight");
  EXPECT_TRUE(Checkpoint(model.write()).spec().tied_head);  // the same values
  model.add_ones("lm_head.weight", shape);
  const std::string said = load(model.write());
  EXPECT_THAT(said, HasSubstr("\"lm_head.weight\" has values of its own, which are taken"));
  const Checkpoint own(model.path());
  EXPECT_FALSE(own.spec().tied_head);
  EXPECT_EQ(own.config()["tie_word_embeddings"], false);
  // All rows of the head are equal, so all logits of a position are.
  test::Runner runner(model.path(), {});
  const std::vector<float> logits = runner.logits({1, 2});
  EXPECT_EQ(logits[0], logits[1]);
}

TEST(TiedHead, MayHoldTheEmbedding) {
  EditedModel model(kFixtures / "tied_f32");
  const auto before = test::Runner(model.write(), {}).logits({1, 2, 3});
  model.copy("model.embed_tokens.weight", "lm_head.weight");
  model.remove("model.embed_tokens.weight");
  EXPECT_EQ(test::Runner(model.write(), {}).logits({1, 2, 3}), before);
}

}  // namespace
}  // namespace nibble
