// Models that are not right: each gives one line that names the file, the tensor or key, what was
// expected and what was found.
#include "cli/expect_failure.h"
#include "core/temporary_folder.h"
#include "formats/file_bytes.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class BadModel : public ::testing::Test {
 protected:
  Json config() const { return Json::parse(read_file(model_ / "config.json")); }
  void write_config(const Json& config) const { write_file(model_ / "config.json", config.dump()); }

  /// What loads a model, with or without its tokenizer, refuses this one.
  void expect_refused(const std::vector<std::string>& parts) const {
    const std::string out = (folder_ / "out").string();
    const std::string model = model_.string();
    expect_failure(nibble({"run", model, "Once", "-n", "2"}), 1, parts);
    expect_failure(nibble({"quantize", model, "-o", out}), 1, parts);
    expect_failure(nibble({"logits", model, "--tokens", "1", "-o", out}), 1, parts);
    EXPECT_FALSE(fs::exists(out));
  }

  /// Writes model.safetensors with this header and the data of the right one.
  void write_weights(const Json& header) const {
    const std::string text = header.dump();
    write_file(model_ / "model.safetensors", le<std::uint64_t>(text.size()) + text + data_);
  }

  const TemporaryFolder folder_;
  const fs::path model_ = copy_stories(folder_ / "model");
  const std::string weights_ = read_file(model_ / "model.safetensors");
  const std::uint64_t header_size_ = [this] {
    std::uint64_t size = 0;
    std::memcpy(&size, weights_.data(), sizeof size);
    return size;
  }();
  const Json header_ = Json::parse(weights_.substr(8, header_size_));
  const std::string data_ = weights_.substr(8 + header_size_);
};

TEST_F(BadModel, MissingFolderOrFiles) {
  expect_failure(nibble({"run", "/no/such/model", "x"}), 1, {"/no/such/model"});
  const std::string text = stories_text().string();
  expect_failure(nibble({"run", text, "x"}), 1, {text, "GGUF"});
  fs::remove(model_ / "model.safetensors");
  expect_refused({model_.string(), "model.safetensors"});
  fs::remove(model_ / "config.json");
  expect_refused({model_.string(), "config.json"});
}

TEST_F(BadModel, EveryNeededKeyOfTheConfig) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size"}) {
    SCOPED_TRACE(key);
    const Json before = config();
    Json changed = before;
    changed[key] = nullptr;
    write_config(changed);
    expect_refused({"config.json", key, "missing"});
    for (const Json& value : std::vector<Json>{0, -1, 1e300, 1.5, "64", Json::array({64}), true,
                                               std::int64_t{1} << 62}) {
      changed[key] = value;
      write_config(changed);
      expect_failure(nibble({"run", model_.string(), "x"}), 1, {"config.json", key});
    }
    write_config(before);
  }
}

TEST_F(BadModel, OtherKeysOfTheConfig) {
  const std::vector<std::pair<const char*, Json>> wrong = {
      {"num_attention_heads", 7},
      {"num_key_value_heads", 3},
      {"num_key_value_heads", 16},
      {"head_dim", 7},
      {"head_dim", -8},
      {"max_position_embeddings", 0},
      {"rms_norm_eps", "small"},
      {"rms_norm_eps", -1},
      {"rope_theta", 0},
      {"rope_theta", "big"},
      {"hidden_act", "tanh"},
      {"bos_token_id", -1},
      {"eos_token_id", "end"},
      {"eos_token_id", 1e300},
      {"tie_word_embeddings", "yes"},
      {"rope_scaling", "linear"},
      {"quantization_config", "awq"},
      {"rope_scaling", {{"rope_type", "odd"}, {"factor", 2}}},
      {"rope_scaling", {{"rope_type", "linear"}, {"factor", 0}}},
      {"rope_scaling", {{"rope_type", "linear"}}},
      {"rope_scaling",
       {{"rope_type", "longrope"},
        {"long_factor", {1, 1}},
        {"short_factor", {1, 1}},
        {"attention_factor", 1}}},
      {"partial_rotary_factor", 0.5},
      {"rope_parameters", {{"partial_rotary_factor", 0.5}}},
      {"quantization_config", {{"quant_method", "other"}}},
      {"architectures", "LlamaForCausalLM"}};
  const Json before = config();
  for (const auto& [key, value] : wrong) {
    SCOPED_TRACE(std::string(key) + " = " + value.dump());
    Json changed = before;
    changed[key] = value;
    write_config(changed);
    expect_failure(nibble({"run", model_.string(), "x"}), 1, {"config.json", key});
  }
}

TEST_F(BadModel, AnUnknownArchitectureListsThoseKnown) {
  Json changed = config();
  changed["architectures"] = {"GPT9ForCausalLM"};
  write_config(changed);
  expect_refused({"config.json", "GPT9ForCausalLM", "LlamaForCausalLM"});
  changed.erase("architectures");
  changed["model_type"] = "gpt9";
  write_config(changed);
  expect_refused({"config.json", "gpt9", "llama"});
  changed.erase("model_type");
  write_config(changed);
  expect_refused({"config.json", "architectures", "model_type", "LlamaForCausalLM"});
}

TEST_F(BadModel, NamesOfSeveralLinesAreToldInOne) {
  Json changed = config();
  changed["quantization_config"] = {{"quant_method", "a\nb\x1b"}};
  write_config(changed);
  expect_refused({"config.json", "\"a\\nb\\x1b\""});
  changed["architectures"] = {"GPT\n9"};
  write_config(changed);
  expect_refused({"config.json", "\"GPT\\n9\""});
  expect_failure(nibble({"export", model_.string(), "--to", "a\nb", "-o", "x"}), 2, {"a\\nb"});
}

TEST_F(BadModel, AContextTooLongForTheMemorySaysSo) {
  for (const char* kv : {"bf16", "int8"}) {
    const Outcome outcome =
        run_command({.args = {"run", model_.string(), "x", "-c", "1073741824", "--kv", kv, "-q"},
                     .memory = std::uint64_t{1} << 33});
    expect_failure(outcome, 1, {"a context of 1073741824 positions", "bytes of memory", "-c"});
  }
}

TEST_F(BadModel, ConfigsThatAreNoJson) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("{\"a\": \xff}"),
        std::string(100000, '['), std::string("null"), std::string("{\n\"a\": 1,\n}")}) {
    write_file(model_ / "config.json", text);
    expect_failure(nibble({"run", model_.string(), "x"}), 1, {"config.json"});
  }
}

TEST_F(BadModel, AVocabularyTooLargeForTheWeights) {
  Json changed = config();
  changed["vocab_size"] = 1 << 26;
  write_config(changed);
  expect_refused({"model.embed_tokens.weight", "[512, 64]", "[67108864, 64]"});
}

TEST_F(BadModel, TensorsMissingOrOfAnotherShape) {
  Json header = header_;
  const std::string name = "model.layers.2.mlp.up_proj.weight";
  header["renamed"] = header[name];
  header.erase(name);
  write_weights(header);
  expect_refused({model_.string(), name, "missing", "[192, 64]"});
  header = header_;
  header[name]["shape"] = {64, 192};
  write_weights(header);
  expect_refused({model_.string(), name, "[64, 192]", "[192, 64]"});
}

TEST_F(BadModel, TensorsOfAnotherType) {
  Json header = header_;
  header["model.norm.weight"]["dtype"] = "I16";
  write_weights(header);
  expect_refused({model_.string(), "model.norm.weight", "I16"});
  header["model.norm.weight"]["dtype"] = "F8_E4M3";
  header["model.norm.weight"]["shape"] = {128};
  write_weights(header);
  expect_refused({model_.string(), "model.norm.weight", "F8_E4M3"});
  header["model.norm.weight"]["dtype"] = "Q9";
  write_weights(header);
  expect_refused({"model.safetensors", "model.norm.weight", "Q9"});
}

TEST_F(BadModel, TensorsThatOverlapOrLieOutside) {
  Json header = header_;
  const std::string name = "model.layers.0.self_attn.k_proj.weight";
  const auto offsets = header[name]["data_offsets"];
  header[name]["data_offsets"] = {offsets[0].get<int>() - 2, offsets[1].get<int>() - 2};
  write_weights(header);
  expect_refused({"model.safetensors", name});
  header[name]["data_offsets"] = {offsets[0].get<int>() + (1 << 30),
                                  offsets[1].get<int>() + (1 << 30)};
  write_weights(header);
  expect_refused({"model.safetensors", name});
  header[name]["data_offsets"] = {INT64_MAX, 2};
  write_weights(header);
  expect_refused({"model.safetensors", name});
}

TEST_F(BadModel, BrokenSafetensorsFiles) {
  const std::string cut = weights_.substr(0, weights_.size() / 2);
  const std::vector<std::string> broken = {
      std::string(),
      std::string(7, '\0'),
      cut,
      weights_ + "x",
      le<std::uint64_t>(std::uint64_t{1} << 60) + weights_.substr(8),
      le<std::uint64_t>(UINT64_MAX) + weights_.substr(8),
      le<std::uint64_t>(2) + "{]",
      le<std::uint64_t>(2) + "[]",
      le<std::uint64_t>(4) + "{\"\xff\""};
  for (const std::string& bytes : broken) {
    write_file(model_ / "model.safetensors", bytes);
    expect_refused({"model.safetensors"});
  }
}

TEST_F(BadModel, WeightsThatAreNotNumbers) {
  std::string weights = weights_;
  const auto begin =
      header_["model.layers.1.mlp.gate_proj.weight"]["data_offsets"][0].get<std::size_t>();
  weights.replace(8 + header_size_ + begin, 2, le<std::uint16_t>(0x7fc0));  // NaN
  write_file(model_ / "model.safetensors", weights);
  const std::string out = (folder_ / "out").string();
  expect_failure(nibble({"quantize", model_.string(), "-o", out}), 1,
                 {"model.layers.1.mlp.gate_proj.weight", "finite"});
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"run", model_.string(), "Once"},
           {"logits", model_.string(), "--tokens", "1,2", "-o", out},
           {"eval", model_.string(), "-q", "--seqlen", "16", "--text", stories_text().string()}}) {
    expect_failure(nibble(command), 1, {"no numbers", "layer 1: behind model.layers.1.mlp."});
  }
  EXPECT_EQ(listing(folder_.path()), std::vector<std::string>{"model"});
}

TEST_F(BadModel, BrokenTokenizers) {
  const std::string model = model_.string();
  const auto expect_no_tokenizer = [&](const std::vector<std::string>& parts) {
    expect_failure(nibble({"tokenize", model, "x"}), 1, parts);
    expect_failure(nibble({"run", model, "x"}), 1, parts);
  };
  for (const std::string bytes : {"", "\x0a\xff\xff\xff\xff\x0f", "\xff\xfe", "\x0a\x02\x0a"}) {
    write_file(model_ / "tokenizer.model", bytes);
    expect_no_tokenizer({"tokenizer.model"});
  }
  for (const std::string text :
       {"", "{", "[]", "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a z\"]}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}",
        "{\"model\": {\"type\": \"Other\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
        "{\"model\": \"\xff\"}"}) {
    SCOPED_TRACE(text);
    write_file(model_ / "tokenizer.json", text);
    expect_no_tokenizer({"tokenizer.json"});
  }
  fs::remove(model_ / "tokenizer.json");
  fs::remove(model_ / "tokenizer.model");
  write_file(model_ / "vocab.json", "{\"a\": 0}");
  expect_no_tokenizer({"merges.txt"});
}

TEST_F(BadModel, PackedWeightsThatDoNotFitTheirConfig) {
  const std::string packed = (folder_ / "w4").string();
  expect_success(nibble({"quantize", model_.string(), "-o", packed, "-q"}));
  const std::string text = read_file(folder_ / "w4/config.json");
  const auto with = [&](const Json::json_pointer& key, const Json& value) {
    Json changed = Json::parse(text);
    changed[key] = value;
    write_file(folder_ / "w4/config.json", changed.dump());
    return nibble({"run", packed, "x"});
  };
  const Json::json_pointer all("/quantization_config");
  const Json::json_pointer head("/quantization_config/modules/lm_head");
  expect_failure(with(all / "version", 99), 1, {"config.json", "version", "99"});
  expect_failure(with(all / "quant_method", "other"), 1, {"quant_method", "other", "nibble"});
  expect_failure(with(head / "bits", 3), 1, {"lm_head", "shape"});
  expect_failure(with(head / "bits", 5), 1, {"lm_head", "bits", "5"});
  expect_failure(with(head / "group_size", 32), 1, {"lm_head", "shape"});
  expect_failure(with(head / "group_size", 128), 1, {"lm_head", "128", "64"});
  expect_failure(with(all / "modules" / "no_such", Json::object()), 1, {"no_such"});
}

}  // namespace
}  // namespace nibble::testing
