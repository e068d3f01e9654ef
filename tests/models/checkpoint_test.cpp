// What Checkpoint and Decoder say of folders that are not right: one line that names file, key or
// tensor, what was expected and what was found.
#include "nibble/models/checkpoint.h"

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/fixtures.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/kernels/select.h"
#include "nibble/models/decoder.h"
#include "nibble/models/gguf_model.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::read_file;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// A tensor of a checkpoint in the making.
struct Entry {
  DType dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

/// A copy of a small model that a test spoils before it opens it.
class SpoiledModel : public ::testing::Test {
 protected:
  SpoiledModel() {
    const SafetensorsModel model(kFixtures / "untied_gqa");
    for (const std::string& name : model.names()) {
      const TensorView& view = model.get(name);
      tensors_[name] = {
          view.dtype, view.shape, {reinterpret_cast<const char*>(view.data), view.bytes}};
    }
  }

  void write() {
    write_file(folder_ / "config.json", config_.dump());
    std::vector<TensorDeclaration> declarations;
    for (const auto& [name, entry] : tensors_) {
      declarations.push_back({name, entry.dtype, entry.shape});
    }
    SafetensorsWriter writer(folder_ / "model.safetensors", declarations);
    for (const auto& [name, entry] : tensors_) {
      writer.append(name, std::as_bytes(std::span(entry.bytes)));
    }
    writer.commit();
  }

  /// Opens and loads.
  void load() {
    write();
    const Checkpoint checkpoint(folder_.path());
    ThreadPool pool(1);
    Compute compute(select_kernels(), pool);
    const Decoder decoder(checkpoint, compute, DType::kBF16);
  }

  std::string config_file() const { return (folder_ / "config.json").string(); }

  /// Says in config.json that `module` is packed so, and adds its (all-zero) tensors.
  void pack(const std::string& module, const WeightLayout& layout) {
    config_["quantization_config"] = make_quantization_config({{module, layout}}, {}, "pergrp");
    const auto add = [&](const std::string& suffix, DType dtype,
                         const std::vector<std::int64_t>& shape) {
      const auto bytes = static_cast<std::size_t>(checked_tensor_bytes(dtype, shape));
      tensors_[module + suffix] = {dtype, shape, std::string(bytes, '\0')};
    };
    for (const PartLayout& part : codec_of(layout.format).parts(layout)) {
      add(part.suffix, part.dtype, part.tensor_shape(block_count(layout)));
    }
    tensors_.erase(module + ".weight");
  }

  TemporaryFolder folder_;
  Json config_ = read_json_file(kFixtures / "untied_gqa" / "config.json");
  std::map<std::string, Entry> tensors_;
};

TEST_F(SpoiledModel, LoadsUnspoiled) {
  EXPECT_NO_THROW(load());
}

TEST_F(SpoiledModel, PlacesThatAreNoModels) {
  EXPECT_ERROR(Checkpoint(folder_ / "absent"), HasSubstr("absent: no such file or folder"));
  EXPECT_ERROR(Checkpoint(folder_.path()), HasSubstr(folder_.path().string() + ": no config.json"));
  write_file(folder_ / "model.bin", "x");
  EXPECT_ERROR(Checkpoint(folder_ / "model.bin"), HasSubstr("is neither a folder nor a GGUF file"));
  write_file(folder_ / "config.json", config_.dump());
  EXPECT_ERROR(Checkpoint(folder_.path()), HasSubstr(folder_.path().string()));  // no tensors
  write_file(folder_ / "config.json", "{");
  EXPECT_ERROR(Checkpoint(folder_.path()), HasSubstr(config_file()));
  write_file(folder_ / "config.json", "[]");
  EXPECT_ERROR(Checkpoint(folder_.path()), HasSubstr(config_file()));
}

TEST_F(SpoiledModel, SafetensorsComeBeforePytorchFiles) {
  write();
  write_file(folder_ / "pytorch_model.bin", "x");
  EXPECT_NO_THROW(Checkpoint(folder_.path()));
  fs::remove(folder_ / "model.safetensors");
  EXPECT_ERROR(Checkpoint(folder_.path()),
               HasSubstr("pytorch_model.bin: neither a zip archive nor a pickle"));
  fs::remove(folder_ / "pytorch_model.bin");
  write_file(folder_ / "gptq_model-4bit-128g.safetensors", "x");
  EXPECT_ERROR(Checkpoint(folder_.path()),
               AllOf(HasSubstr("looked for model.safetensors, "),
                     HasSubstr("; there is \"gptq_model-4bit-128g.safetensors\"")));
}

TEST_F(SpoiledModel, ConfigKeysThatAreMissing) {
  for (const char* key : {"num_hidden_layers", "hidden_size", "intermediate_size",
                          "num_attention_heads", "vocab_size"}) {
    const Json before = config_;
    config_.erase(key);  // transformers' defaults then, which are of a larger model
    EXPECT_ERROR(load(), HasSubstr(folder_.path().string()));
    config_[key] = nullptr;
    EXPECT_ERROR(load(), AllOf(HasSubstr(config_file()), HasSubstr(key)));
    config_ = before;
  }
}

TEST_F(SpoiledModel, ConfigValuesThatCannotBe) {
  const std::vector<std::tuple<const char*, Json, const char*>> cases = {
      {"hidden_size", "24", "hidden_size"},
      {"hidden_size", 24.5, "hidden_size"},
      {"hidden_size", -24, "hidden_size"},
      {"hidden_size", 0, "hidden_size"},
      {"hidden_size", 1e18, "hidden_size"},
      {"hidden_size", 4611686018427387904, "hidden_size"},
      {"hidden_size", 27, "head size"},
      {"head_dim", 7, "head_dim"},
      {"head_dim", 0, "head_dim"},
      {"num_attention_heads", 0, "num_attention_heads"},
      {"num_key_value_heads", 3, "num_key_value_heads"},
      {"num_key_value_heads", 8, "num_key_value_heads"},
      {"num_hidden_layers", 1 << 20, "num_hidden_layers"},
      {"vocab_size", true, "vocab_size"},
      {"max_position_embeddings", 0, "max_position_embeddings"},
      {"hidden_act", "tanh", "hidden_act"},
      {"rms_norm_eps", "small", "rms_norm_eps"},
      {"rms_norm_eps", -1e-5, "rms_norm_eps"},
      {"rope_theta", 0, "rope_theta"},
      {"rope_scaling", "linear", "rope_scaling"},
      {"rope_scaling", {{"type", "yarn"}, {"factor", 2}}, "yarn"},
      {"rope_scaling", {{"type", "linear"}}, "factor"},
      {"rope_scaling", {{"type", "linear"}, {"factor", 0}}, "factor"},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}}, "low_freq_factor"},
      {"rope_scaling",
       {{"rope_type", "llama3"},
        {"factor", 8},
        {"low_freq_factor", 4},
        {"high_freq_factor", 4},
        {"original_max_position_embeddings", 64}},
       "low_freq_factor"},
      {"tie_word_embeddings", "yes", "tie_word_embeddings"},
      {"attention_bias", 1, "attention_bias"},
      {"eos_token_id", "2", "eos_token_id"},
      {"eos_token_id", {2, 1.5}, "eos_token_id"},
      {"bos_token_id", true, "bos_token_id"},
      {"architectures", "LlamaForCausalLM", "architectures"},
  };
  for (const auto& [key, value, named] : cases) {
    SCOPED_TRACE(std::string(key) + " = " + value.dump());
    const Json before = config_;
    config_[key] = value;
    EXPECT_ERROR(load(), AllOf(HasSubstr(config_file()), HasSubstr(named)));
    config_ = before;
  }
}

TEST_F(SpoiledModel, UnknownArchitecturesListTheKnown) {
  config_["architectures"] = {"MambaForCausalLM"};
  EXPECT_ERROR(load(), AllOf(HasSubstr(config_file()), HasSubstr("MambaForCausalLM"),
                             HasSubstr("LlamaForCausalLM")));
  config_.erase("architectures");
  config_["model_type"] = "mamba";
  EXPECT_ERROR(load(), AllOf(HasSubstr("mamba"), HasSubstr("llama")));
  config_.erase("model_type");
  EXPECT_ERROR(load(), AllOf(HasSubstr("model_type"), HasSubstr("LlamaForCausalLM")));
  config_["model_type"] = "llama";
  EXPECT_NO_THROW(load());
}

// As AutoModelForCausalLM decides.
TEST_F(SpoiledModel, TheModelTypeWinsOverArchitectures) {
  config_["model_type"] = "llama";
  for (const Json& names : {Json::array(), Json{"LlamaModel"}, Json{"MistralForCausalLM"}}) {
    config_["architectures"] = names;
    EXPECT_NO_THROW(load());
    EXPECT_EQ(find_architecture(JsonObject(config_, "config.json")).name, "LlamaForCausalLM");
  }
  config_["architectures"] = {"LlamaForSequenceClassification"};
  EXPECT_ERROR(load(), HasSubstr("LlamaForSequenceClassification"));
}

TEST_F(SpoiledModel, MissingTensors) {
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
                           "model.layers.1.self_attn.k_proj.weight",
                           "model.layers.0.post_attention_layernorm.weight"}) {
    const auto before = tensors_;
    tensors_.erase(name);
    EXPECT_ERROR(load(),
                 AllOf(HasSubstr(folder_.path().string()), HasSubstr(name), HasSubstr("missing")));
    tensors_ = before;
  }
  config_["attention_bias"] = true;
  EXPECT_ERROR(load(), AllOf(HasSubstr("self_attn.q_proj.bias"), HasSubstr("[24]")));
}

TEST_F(SpoiledModel, WrongShapes) {
  config_["intermediate_size"] = 48;
  EXPECT_ERROR(load(), AllOf(HasSubstr("mlp.gate_proj.weight"), HasSubstr("[40, 24]"),
                             HasSubstr("[48, 24]")));
  config_["intermediate_size"] = 40;
  tensors_["model.norm.weight"].shape = {1, 24};
  EXPECT_ERROR(load(), AllOf(HasSubstr("model.norm.weight"), HasSubstr("[1, 24]")));
}

TEST_F(SpoiledModel, IntegerWeights) {
  for (const char* name : {"model.layers.0.mlp.up_proj.weight", "model.norm.weight"}) {
    const auto before = tensors_;
    tensors_[name].dtype = DType::kI16;
    EXPECT_ERROR(load(), AllOf(HasSubstr(name), HasSubstr("I16")));
    tensors_ = before;
  }
  tensors_["model.embed_tokens.weight"].dtype = DType::kI16;
  EXPECT_ERROR(load(), AllOf(HasSubstr("model.embed_tokens.weight"), HasSubstr("I16")));
}

TEST_F(SpoiledModel, QuantizationConfigs) {
  const std::string module = "model.layers.0.mlp.gate_proj";
  const std::vector<std::pair<Json, const char*>> cases = {
      {{{"quant_method", "hqq"}, {"bits", 4}}, "hqq"},
      {{{"bits", 4}}, "quant_method"},
      {{{"quant_method", "nibble"}}, "version"},
      {{{"quant_method", "nibble"}, {"version", 3}, {"modules", Json::object()}}, "version"},
      {{{"quant_method", "nibble"}, {"version", 1}}, "modules"},
      {{{"quant_method", "nibble"}, {"version", 1}, {"modules", Json::array()}}, "modules"},
      {{{"quant_method", "nibble"},
        {"version", 1},
        {"modules", {{"model.layers.9.mlp.up_proj", {{"bits", 4}, {"group_size", 32}}}}}},
       "model.layers.9.mlp.up_proj"},
      {{{"quant_method", "nibble"},
        {"version", 1},
        {"modules", {{module, {{"bits", 5}, {"group_size", 32}}}}}},
       "bits"},
      {{{"quant_method", "nibble"},
        {"version", 1},
        {"modules", {{module, {{"bits", 4}, {"group_size", 48}}}}}},
       "group_size"},
      {{{"quant_method", "nibble"},
        {"version", 1},
        {"modules", {{module, {{"bits", 4}, {"group_size", 32}}}}}},
       "24 input features"},
      {{{"quant_method", "nibble"},
        {"version", 1},
        {"modules", {{module, {{"bits", 8}, {"group_size", 32}}}}}},
       "group_size"},
      {{{"quant_method", "nibble"},
        {"version", 2},
        {"modules", {{module, {{"bits", 8}, {"activations", "f32"}}}}}},
       "\"activations\" must be \"bf16\", \"int8\" or \"int8_tensor\", found \"f32\""},
      {{{"quant_method", "nibble"}, {"version", 1}, {"modules", {{module, 4}}}},
       "model.layers.0.mlp.gate_proj"},
  };
  for (const auto& [quantization, named] : cases) {
    SCOPED_TRACE(quantization.dump());
    config_["quantization_config"] = quantization;
    EXPECT_ERROR(load(), AllOf(HasSubstr("config.json"), HasSubstr(named)));
  }
}

/// A model of hidden size 32, whose layers can be packed.
class SpoiledPackedModel : public SpoiledModel {
 protected:
  SpoiledPackedModel() {
    config_["hidden_size"] = 32;
    config_["intermediate_size"] = 64;
    config_["num_hidden_layers"] = 1;
    config_["vocab_size"] = 40;
    tensors_.clear();
    const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
      const auto bytes = static_cast<std::size_t>(checked_tensor_bytes(DType::kBF16, shape));
      tensors_[name] = {DType::kBF16, shape, std::string(bytes, '\0')};
    };
    const std::string block = "model.layers.0.";
    add("model.embed_tokens.weight", {40, 32});
    add("lm_head.weight", {40, 32});
    add("model.norm.weight", {32});
    add(block + "input_layernorm.weight", {32});
    add(block + "post_attention_layernorm.weight", {32});
    add(block + "self_attn.q_proj.weight", {32, 32});
    add(block + "self_attn.k_proj.weight", {16, 32});
    add(block + "self_attn.v_proj.weight", {16, 32});
    add(block + "self_attn.o_proj.weight", {32, 32});
    add(block + "mlp.gate_proj.weight", {64, 32});
    add(block + "mlp.up_proj.weight", {64, 32});
    add(block + "mlp.down_proj.weight", {32, 64});
    pack("lm_head", {WeightFormat::kW4, 40, 32, 32});  // 40 rows: three blocks of 16
  }
};

TEST_F(SpoiledPackedModel, LoadsUnspoiled) {
  EXPECT_NO_THROW(load());
}

TEST_F(SpoiledModel, EightBits) {
  pack("lm_head", {WeightFormat::kW8, 101, 24});  // rows and columns that fill no block
  const auto before = tensors_;
  EXPECT_NO_THROW(load());
  for (const char* suffix : {kCodesSuffix, kScalesSuffix}) {
    tensors_.erase(std::string("lm_head") + suffix);
    EXPECT_ERROR(load(), AllOf(HasSubstr(std::string("lm_head") + suffix), HasSubstr("missing")));
    tensors_ = before;
  }
  tensors_["lm_head.weight_scale"].dtype = DType::kI32;
  EXPECT_ERROR(load(), AllOf(HasSubstr("lm_head.weight_scale"), HasSubstr("F32")));
  tensors_ = before;
  Entry& codes = tensors_["lm_head.weight_packed"];
  codes.shape[1] -= 1;  // a chunk of columns is missing
  codes.bytes.resize(static_cast<std::size_t>(checked_tensor_bytes(DType::kU8, codes.shape)));
  EXPECT_ERROR(load(), AllOf(HasSubstr("lm_head.weight_packed"), HasSubstr("shape")));
}

TEST_F(SpoiledPackedModel, VersionOne) {
  config_["quantization_config"]["version"] = 1;
  EXPECT_NO_THROW(load());  // 4 bits lay as they do
  pack("lm_head", {WeightFormat::kW3, 40, 32, 32});
  EXPECT_NO_THROW(load());
  config_["quantization_config"]["version"] = 1;
  EXPECT_ERROR(load(), AllOf(HasSubstr("config.json"), HasSubstr("lm_head"), HasSubstr("version"),
                             HasSubstr("quantize the model again")));
}

TEST_F(SpoiledPackedModel, MissingParts) {
  for (const char* suffix : {kCodesSuffix, kScalesSuffix, kZerosSuffix}) {
    const auto before = tensors_;
    tensors_.erase(std::string("lm_head") + suffix);
    EXPECT_ERROR(load(), AllOf(HasSubstr(std::string("lm_head") + suffix), HasSubstr("missing")));
    tensors_ = before;
  }
}

TEST_F(SpoiledPackedModel, PartsOfAnotherShapeOrType) {
  const auto before = tensors_;
  Entry& codes = tensors_["lm_head.weight_packed"];
  codes.shape = {2, 4, 64};  // a block of rows is missing
  codes.bytes.resize(2 * 4 * 64);
  EXPECT_ERROR(load(), AllOf(HasSubstr("lm_head.weight_packed"), HasSubstr("[2, 4, 64]"),
                             HasSubstr("[3, 4, 64]")));
  tensors_ = before;
  tensors_["lm_head.weight_scale"].dtype = DType::kF16;
  EXPECT_ERROR(load(), AllOf(HasSubstr("lm_head.weight_scale"), HasSubstr("F16")));
  tensors_ = before;
  tensors_["lm_head.weight_zero_point"].dtype = DType::kI8;
  EXPECT_ERROR(load(), AllOf(HasSubstr("lm_head.weight_zero_point"), HasSubstr("I8")));
}

TEST_F(SpoiledPackedModel, TruncatedFile) {
  write();
  const std::string whole = read_file(folder_ / "model.safetensors");
  write_file(folder_ / "model.safetensors", whole.substr(0, whole.size() - 1));
  EXPECT_ERROR(Checkpoint(folder_.path()), HasSubstr("model.safetensors"));
}

/// A safetensors file holds tensors back to back, so that one after an odd number of bytes lies at
/// an odd address, whence no bfloat16 may be read.
TEST_F(SpoiledPackedModel, ScalesAtAnOddAddress) {
  tensors_["aaa"] = {DType::kU8, {3}, std::string(3, '\0')};
  EXPECT_ERROR(load(), AllOf(HasSubstr("lm_head.weight_scale"), HasSubstr("aligned")));
}

TEST_F(SpoiledModel, DenseTensorsAtAnOddAddressAreCopied) {
  tensors_["aaa"] = {DType::kU8, {3}, std::string(3, '\0')};
  EXPECT_NO_THROW(load());
}

TEST(SpoiledGguf, EveryMissingKeyAndTensorIsAnError) {
  // The names in the file, changed one by one: each is needed or not looked at, none may crash.
  const std::string whole = read_file(kFixtures / "gguf_f32_biases" / "model.gguf");
  const TemporaryFolder folder;
  for (const char* name :
       {"general.architecture", "llama.block_count", "llama.context_length",
        "llama.embedding_length", "llama.feed_forward_length", "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon", "token_embd.weight", "output_norm.weight",
        "blk.1.attn_q.weight", "blk.0.attn_k.bias", "blk.1.ffn_down.bias"}) {
    std::string spoiled = whole;
    const std::size_t at = spoiled.find(name);
    ASSERT_NE(at, std::string::npos) << name;
    spoiled[at] = 'X';
    write_file(folder / "spoiled.gguf", spoiled);
    const auto open = [&] {
      const Checkpoint checkpoint(folder / "spoiled.gguf");
      ThreadPool pool(1);
      Compute compute(select_kernels(), pool);
      const Decoder decoder(checkpoint, compute, DType::kBF16);
    };
    EXPECT_ERROR(open(), HasSubstr("spoiled.gguf"));
  }
}

TEST(SpoiledGguf, UnknownArchitecture) {
  std::string bytes = read_file(kFixtures / "gguf_f32_biases" / "model.gguf");
  const std::size_t at = bytes.find("llama", bytes.find("general.architecture"));
  bytes.replace(at, 5, "mamba");
  const TemporaryFolder folder;
  write_file(folder / "model.gguf", bytes);
  EXPECT_ERROR(Checkpoint(folder / "model.gguf"),
               AllOf(HasSubstr("model.gguf"), HasSubstr("mamba"), HasSubstr("llama")));
}

// Random bytes of the metadata changed: the file loads or is refused in one line, and what loads
// can be run.
TEST(SpoiledGgufSlow, DamagedMetadataIsRefusedOrHarmless) {
  const std::string whole = read_file(kFixtures / "gguf_f32_biases" / "model.gguf");
  const std::size_t metadata = whole.find("blk.1.attn_q.weight");
  ASSERT_NE(metadata, std::string::npos);
  const TemporaryFolder folder;
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::string damaged = whole;
    damaged[random() % metadata] = static_cast<char>(random());
    write_file(folder / "damaged.gguf", damaged);
    try {
      const Checkpoint checkpoint(folder / "damaged.gguf");
      ThreadPool pool(1);
      Compute compute(select_kernels(), pool);
      Decoder decoder(checkpoint, compute, DType::kF32);
      const ModelSpec& spec = decoder.spec();
      KvCache cache({spec.n_layers, spec.n_kv_heads, spec.head_dim, 3}, KvType::kF32);
      std::vector<float> hidden(3 * static_cast<std::size_t>(spec.hidden));
      decoder.forward(compute, std::vector<std::int32_t>{0, 0, 0}, cache, hidden.data());
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("damaged.gguf"), std::string::npos) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
  EXPECT_LT(refused, 500);
}

}  // namespace
}  // namespace nibble
