// What MODEL may be: a folder, a file, a name, parts of a model.
#include "cli/expect_failure.h"
#include "core/temporary_folder.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;

class ModelArgument : public ::testing::Test {
 protected:
  Outcome in_environment(const std::vector<std::string>& args) const {
    Invocation run;
    run.args = args;
    run.env = {{"NIBBLE_MODELS", (folder_ / "models").string()},
               {"HF_HOME", (folder_ / "hub").string()}};
    run.folder = folder_.path();
    return run_command(run);
  }

  const TemporaryFolder folder_;
};

TEST_F(ModelArgument, NamesAreFoundInBothPlaces) {
  fs::create_directories(folder_ / "models/org");
  copy_stories(folder_ / "models/org/tiny");
  fs::copy(fixture("tiny.gguf"), folder_ / "models/one.gguf");
  const fs::path repository = folder_ / "hub/hub/models--team--other";
  fs::create_directories(repository / "snapshots");
  copy_stories(repository / "snapshots/abc");
  for (const char* const name : {"org/tiny", "tiny", "one", "one.gguf", "team/other", "other"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(in_environment({"tokenize", name, "Once upon"}).out, "1 403 407\n");
  }
  expect_success(in_environment({"init", "org/tiny", "-o", "random", "-q"}));
  expect_failure(in_environment({"tokenize", "nobody/other", "x"}), 1,
                 {"nobody/other", (folder_ / "models").string(), (folder_ / "hub").string()});
  expect_failure(in_environment({"tokenize", "../tiny", "x"}), 1, {"../tiny"});
  expect_failure(in_environment({"tokenize", "", "x"}), 1, {"name is empty"});
}

TEST_F(ModelArgument, BlanksUtf8LinksAndOddBytesInPaths) {
  const fs::path odd = folder_ / "a b\xc3\xa4 \xff";
  copy_stories(odd);
  fs::create_directory_symlink(odd, folder_ / "link");
  for (const std::string& model : {odd.string(), std::string("link"), odd.string() + "/"}) {
    EXPECT_EQ(in_environment({"run", model, "Once upon", "-n", "2", "-q"}).out, " a time\n");
  }
  const Outcome quantized =
      in_environment({"quantize", odd.string(), "-o", odd.string() + " w4", "--json", "-q"});
  expect_success(quantized);
  EXPECT_NE(quantized.json()["output"], "");  // U+FFFD for what JSON cannot hold
  expect_success(in_environment({"inspect", odd.string() + " w4", "--json"}));
}

TEST_F(ModelArgument, TokenizerFilesAlone) {
  const fs::path model = copy_stories(folder_ / "model");
  fs::remove(model / "config.json");
  fs::remove(model / "generation_config.json");
  fs::remove(model / "model.safetensors");
  EXPECT_EQ(in_environment({"tokenize", "model", "Once upon"}).out, "1 403 407\n");
  EXPECT_EQ(in_environment({"detokenize", "model", "403"}).out, "Once\n");
  expect_failure(in_environment({"run", "model", "x"}), 1, {"model", "no config.json"});
}

TEST_F(ModelArgument, NoTokenizer) {
  const fs::path model = copy_stories(folder_ / "model");
  fs::remove(model / "tokenizer.model");
  fs::remove(model / "tokenizer_config.json");
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"quantize", "model", "-o", "w4", "-q"},
                                             {"logits", "model", "--tokens", "1,2", "-o", "l.npy"},
                                             {"inspect", "model"},
                                             {"bench", "model", "-p", "8", "-n", "0", "-r", "1"}}) {
    expect_success(in_environment(args));
  }
  expect_failure(in_environment({"run", "model", "x"}), 1, {"model", "tokenizer.json"});
  expect_failure(in_environment({"tokenize", "model", "x"}), 1, {"model", "tokenizer.json"});
}

TEST_F(ModelArgument, AGgufFile) {
  const std::string file = fixture("tiny.gguf").string();
  EXPECT_EQ(in_environment({"tokenize", file, "Once upon"}).out, "1 403 407\n");
  const Outcome run = in_environment({"run", file, "Once upon", "-n", "4", "--json"});
  expect_success(in_environment({"quantize", file, "-o", "w4", "-q"}));
  expect_success(in_environment({"run", "w4", "Once upon", "-n", "4"}));
  EXPECT_EQ(run.json()["generated_tokens"], 4);
}

TEST_F(ModelArgument, AGgufVocabularyAlone) {
  const std::string file = fixture("vocabulary.gguf").string();
  EXPECT_EQ(in_environment({"tokenize", file, "Once upon"}).out, "1 403 407\n");
  EXPECT_EQ(in_environment({"detokenize", file, "403"}).out, "Once\n");
  expect_failure(in_environment({"run", file, "x"}), 1, {file, "token_embd.weight"});
}

TEST_F(ModelArgument, NullIsAsIfAbsent) {
  const fs::path model = copy_stories(folder_ / "model");
  nlohmann::json config = nlohmann::json::parse(read_file(model / "config.json"));
  for (const char* key : {"model_type", "hidden_act", "rope_scaling", "rope_theta", "head_dim",
                          "attention_bias", "mlp_bias", "bos_token_id", "eos_token_id",
                          "quantization_config", "torch_dtype", "rope_parameters"}) {
    config[key] = nullptr;
  }
  const std::string expected = in_environment({"run", "model", "Once", "-n", "9", "-q"}).out;
  write_file(model / "config.json", config.dump());
  write_file(model / "generation_config.json", R"({"eos_token_id": null})");
  write_file(model / "tokenizer_config.json",
             R"({"tokenizer_class": null, "bos_token": null, "add_bos_token": null,
                 "chat_template": null, "added_tokens_decoder": null})");
  EXPECT_EQ(in_environment({"run", "model", "Once", "-n", "9", "-q"}).out, expected);
  config["architectures"] = nullptr;
  config["model_type"] = "llama";
  write_file(model / "config.json", config.dump());
  EXPECT_EQ(in_environment({"run", "model", "Once", "-n", "9", "-q"}).out, expected);
}

}  // namespace
}  // namespace nibble::testing
