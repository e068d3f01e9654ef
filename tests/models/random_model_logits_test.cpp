// Small random models of many shapes and architectures (fixtures/make_*.py) against transformers'
// logits, and GGUF files against transformers on what they hold dequantized.
#include <nlohmann/json.hpp>

#include "core/temporary_folder.h"
#include "models/fixtures.h"
#include "models/logits.h"
#include "nibble/models/rope_frequencies.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using test::every_row;
using test::expect_close_logits;
using test::Mode;
using test::reference_ids;
using test::Runner;

/// A fixture and the dtypes that it has logits for.
struct LogitsCase {
  const char* name;
  const char* file = "";  // in its folder; "": the folder itself
  std::vector<const char*> modes = {"bf16"};
};

DType dtype_of(const std::string& mode) {
  return mode == "f32" ? DType::kF32 : mode == "f16" ? DType::kF16 : DType::kBF16;
}

/// Holds the model at `path` to the logits of the fixture `name`, with every kernel set.
void expect_fixture_logits(const fs::path& path, const std::string& name, const std::string& mode) {
  const std::vector<float> expected =
      NpyFile(kFixtures / name / ("logits_" + mode + ".npy")).floats();
  for (const KernelSet* kernels : supported_kernels()) {
    for (const bool f32 : {true, false}) {
      SCOPED_TRACE(name + " " + mode + " " + kernels->name + (f32 ? " f32" : " bf16"));
      const auto activations = f32 ? ActivationType::kF32 : ActivationType::kBF16;
      Runner model(path,
                   Mode{.kernels = kernels, .dtype = dtype_of(mode), .activations = activations});
      const auto vocab = static_cast<std::size_t>(model.spec().vocab);
      const std::vector<std::int32_t> ids = reference_ids(40, model.spec().vocab);
      for (const std::size_t batch : {std::size_t{0}, std::size_t{1}}) {
        expect_close_logits(every_row(model.logits(ids, batch), vocab, 4, 5), expected, vocab,
                            f32 ? test::kF32Limit : test::kBF16RandomLimit,
                            f32 ? test::kF32Margin : test::kBF16Margin);
      }
    }
  }
}

class RandomModel : public ::testing::TestWithParam<LogitsCase> {};

TEST_P(RandomModel, GivesTheReferencesLogits) {
  for (const char* mode : GetParam().modes) {
    expect_fixture_logits(kFixtures / GetParam().name / GetParam().file, GetParam().name, mode);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, RandomModel,
    ::testing::Values(LogitsCase{"untied_gqa"}, LogitsCase{"tied_f32", "", {"bf16", "f16", "f32"}},
                      LogitsCase{"biases_f16", "", {"bf16", "f16"}}, LogitsCase{"head_dim_sharded"},
                      LogitsCase{"torch_bin_sharded"}, LogitsCase{"rope_linear"},
                      LogitsCase{"rope_llama3"},
                      LogitsCase{"gguf_f32_biases", "model.gguf", {"bf16", "f32"}},
                      LogitsCase{"gguf_mixed_gpt2", "model.gguf", {"bf16", "f32"}},
                      LogitsCase{"gguf_rope_freqs_llama", "model.gguf", {"bf16", "f32"}}),
    [](const auto& test_case) { return std::string(test_case.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Architectures, RandomModel,
    ::testing::Values(LogitsCase{"architecture_opt", "", {"bf16", "f16"}},
                      LogitsCase{"architecture_opt_post_norm", "", {"bf16", "f32"}},
                      LogitsCase{"architecture_opt_bare"}, LogitsCase{"architecture_qwen2_window"},
                      LogitsCase{"architecture_qwen2_layer_types"},
                      LogitsCase{"architecture_mistral_window"},
                      LogitsCase{"architecture_mistral_no_window"},
                      LogitsCase{"architecture_qwen3"}, LogitsCase{"architecture_qwen3_window"},
                      LogitsCase{"architecture_gemma", "", {"bf16", "f16", "f32"}}),
    [](const auto& test_case) { return std::string(test_case.param.name); });

/// The fixture `name` with another config.json.
void write_variant(const TemporaryFolder& folder, const std::string& name, const Json& config) {
  fs::copy_file(kFixtures / name / "model.safetensors", folder / "model.safetensors");
  write_file(folder / "config.json", config.dump());
}

TEST(RopeConfig, TheNewFormIsTheOld) {
  for (const char* name : {"rope_llama3", "rope_linear"}) {
    Json config = read_json_file(kFixtures / name / "config.json");
    Json parameters = config["rope_scaling"];
    if (parameters.contains("type")) {  // the oldest form says "type", the new one "rope_type"
      parameters["rope_type"] = parameters["type"];
      parameters.erase("type");
    }
    parameters["rope_theta"] = config["rope_theta"];
    config["rope_parameters"] = parameters;
    config.erase("rope_scaling");
    config.erase("rope_theta");
    const TemporaryFolder folder;
    write_variant(folder, name, config);
    expect_fixture_logits(folder.path(), name, "bf16");
  }
}

TEST(RopeConfig, ScalingChangesTheLogits) {  // else the tests above would show nothing
  for (const char* name : {"rope_llama3", "rope_linear"}) {
    Json config = read_json_file(kFixtures / name / "config.json");
    config["rope_scaling"] = nullptr;
    const TemporaryFolder folder;
    write_variant(folder, name, config);
    const std::vector<std::int32_t> ids = reference_ids(40, 101);
    const std::vector<float> with = Runner(kFixtures / name, Mode{}).logits(ids);
    const std::vector<float> without = Runner(folder.path(), Mode{}).logits(ids);
    double largest = 0;
    for (std::size_t i = 0; i < with.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(with[i]) - without[i]));
    }
    EXPECT_GT(largest, 0.1 * test::standard_deviation(with)) << name;
  }
}

TEST(WindowConfig, WindowsChangeTheLogits) {  // else the fixtures with them would show nothing
  for (const char* name : {"architecture_qwen2_window", "architecture_qwen2_layer_types",
                           "architecture_mistral_window", "architecture_qwen3_window"}) {
    Json config = read_json_file(kFixtures / name / "config.json");
    config["sliding_window"] = 40;  // all positions
    const TemporaryFolder folder;
    write_variant(folder, name, config);
    const std::vector<std::int32_t> ids = reference_ids(40, 101);
    const std::vector<float> with = Runner(kFixtures / name, Mode{}).logits(ids);
    const std::vector<float> without = Runner(folder.path(), Mode{}).logits(ids);
    double largest = 0;
    for (std::size_t i = 0; i < with.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(with[i]) - without[i]));
    }
    EXPECT_GT(largest, 0.1 * test::standard_deviation(with)) << name;
  }
}

TEST(RopeFrequencies, FollowTheFormulas) {
  const auto plain = rope_frequencies({.theta = 10000.0}, 8);
  ASSERT_EQ(plain.size(), 4u);
  EXPECT_FLOAT_EQ(plain[0], 1.0f);
  EXPECT_FLOAT_EQ(plain[1], 0.1f);
  EXPECT_FLOAT_EQ(plain[3], 0.001f);
  const RopeSpec linear{.theta = 10000.0, .scaling = RopeSpec::Scaling::kLinear, .factor = 4.0};
  EXPECT_FLOAT_EQ(rope_frequencies(linear, 8)[1], 0.025f);
  // Turns over 64 positions: 10.2 (kept), 1.02 (blended), 0.102 (stretched), ...
  const RopeSpec llama3{.theta = 10000.0,
                        .scaling = RopeSpec::Scaling::kLlama3,
                        .factor = 8.0,
                        .low_freq_factor = 1.0,
                        .high_freq_factor = 4.0,
                        .original_context = 64};
  const auto scaled = rope_frequencies(llama3, 8);
  const double turns = 64 * 0.1 / (2 * M_PI);
  const double smooth = (turns - 1) / 3;
  EXPECT_FLOAT_EQ(scaled[0], 1.0f);
  EXPECT_FLOAT_EQ(scaled[1], static_cast<float>((1 - smooth) * 0.1 / 8 + smooth * 0.1));
  EXPECT_FLOAT_EQ(scaled[2], 0.01f / 8);
}

TEST(EndOfText, GenerationConfigWinsOverConfig) {
  const TemporaryFolder folder;
  write_variant(folder, "untied_gqa", read_json_file(kFixtures / "untied_gqa" / "config.json"));
  EXPECT_EQ(Checkpoint(folder.path()).spec().eos, std::vector<std::int32_t>{2});
  write_file(folder / "generation_config.json", R"({"eos_token_id": [3, 5, 8]})");
  EXPECT_EQ(Checkpoint(folder.path()).spec().eos, (std::vector<std::int32_t>{3, 5, 8}));
  write_file(folder / "generation_config.json", R"({"eos_token_id": 9})");
  EXPECT_EQ(Checkpoint(folder.path()).spec().eos, std::vector<std::int32_t>{9});
  write_file(folder / "generation_config.json", R"({"eos_token_id": null})");
  EXPECT_EQ(Checkpoint(folder.path()).spec().eos, std::vector<std::int32_t>{2});
}

TEST(GgufCheckpoint, HasTheConfigOfItsFolder) {
  const Checkpoint checkpoint(kFixtures / "gguf_rope_freqs_llama" / "model.gguf");
  const Json& config = checkpoint.config();
  EXPECT_EQ(config["architectures"], Json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config["vocab_size"], 512);
  EXPECT_EQ(config["num_key_value_heads"], 1);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["rope_scaling"]["rope_type"], "longrope");  // by the factors as they are
  EXPECT_EQ(config["rope_scaling"]["long_factor"].size(), 8u);
  EXPECT_NEAR(config["rope_scaling"]["long_factor"][7].get<double>(), 32.0, 1e-4);
  EXPECT_EQ(config["bos_token_id"], 1);
  EXPECT_EQ(config["eos_token_id"], 2);
  EXPECT_TRUE(checkpoint.is_gguf());
  EXPECT_FALSE(checkpoint.is_quantized());
}

TEST(GgufCheckpoint, LlamaVocabularyIsThatOfTheSentencePieceFile) {
  const Checkpoint checkpoint(kFixtures / "gguf_rope_freqs_llama" / "model.gguf");
  ASSERT_TRUE(checkpoint.has_tokenizer());
  const Tokenizer tokenizer = checkpoint.load_tokenizer();
  const Tokenizer original = load_tokenizer(testing::data_file("stories260K"));
  const std::string text = "Once upon a time, Zoë had 3 cats.\n  They slept.";
  EXPECT_EQ(tokenizer.encode(text), original.encode(text));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, {.add_special = false})), text);
}

TEST(GgufCheckpoint, ByteLevelVocabularyAndSeveralEnds) {
  const Checkpoint checkpoint(kFixtures / "gguf_mixed_gpt2" / "model.gguf");
  const Tokenizer tokenizer = checkpoint.load_tokenizer();
  EXPECT_EQ(tokenizer.encode("cat the and<|eot_id|>").back(), 263);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("cat the and")), "cat the and");
  EXPECT_EQ(checkpoint.spec().eos, (std::vector<std::int32_t>{262, 263}));
}

TEST(GgufCheckpoint, MayHaveNoVocabulary) {
  EXPECT_FALSE(Checkpoint(kFixtures / "gguf_f32_biases" / "model.gguf").has_tokenizer());
}

}  // namespace
}  // namespace nibble
