#include "nibble/models/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/models/gguf_names.h"
#include "nibble/weights/dequantize.h"

namespace nibble {
namespace {

constexpr std::int64_t kMaxSize = 1 << 26;

/// GGUF keeps scaling by parts of the frequencies, llama3's for one, as a tensor of what they are
/// divided by. The config that means just that is longrope's, with one list for all lengths.
Json factor_scaling(const GgufFile& file, const TensorView& tensor, std::int64_t head_dim,
                    std::int64_t context) {
  if (tensor.elements() != head_dim / 2 || !can_dequantize(tensor.dtype)) {
    fail("{}: tensor \"{}\" has {} elements of type {}, expected half the head size {} as floats",
         file.file().path().string(), kGgufRopeFactors, tensor.elements(), dtype_name(tensor.dtype),
         head_dim);
  }
  std::vector<float> factors(static_cast<std::size_t>(tensor.elements()));
  dequantize_rows(tensor, 0, tensor.rows(), factors.data());
  for (std::size_t i = 0; i < factors.size(); ++i) {
    if (!(factors[i] > 0 && std::isfinite(factors[i]))) {
      fail("{}: tensor \"{}\": factor {} is {}, expected a positive number",
           file.file().path().string(), kGgufRopeFactors, i, factors[i]);
    }
  }
  return {{"rope_type", "longrope"}, {"attention_factor", 1.0},
          {"factor", 1.0},           {"original_max_position_embeddings", context},
          {"short_factor", factors}, {"long_factor", factors}};
}

Json rope_scaling(const GgufModel& model, const std::string& prefix, std::int64_t head_dim) {
  const GgufFile& file = model.metadata();
  if (const TensorView* factors = model.find(kGgufRopeFactors)) {
    const auto context = file.get_int(prefix + "context_length", 1, kMaxSize);
    return factor_scaling(file, *factors, head_dim, context);
  }
  const auto type = file.find_string(prefix + "rope.scaling.type");
  if (!type || *type == "none") return nullptr;
  return {{"rope_type", std::string(*type)},
          {"factor", file.get_number(prefix + "rope.scaling.factor")}};
}

/// Whether one of these modules of a block has a bias: then all are to have one.
bool has_bias(const GgufModel& model, std::initializer_list<std::string_view> modules) {
  return std::any_of(modules.begin(), modules.end(), [&](std::string_view module) {
    return model.contains(fmt::format("blk.0.{}.bias", module));
  });
}

void add_special_ids(const GgufFile& file, Json& config) {
  if (const auto bos = file.find_int("tokenizer.ggml.bos_token_id")) config["bos_token_id"] = *bos;
  Json eos = Json::array();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    const auto id = file.find_int(key);
    if (id && std::find(eos.begin(), eos.end(), *id) == eos.end()) eos.push_back(*id);
  }
  if (eos.size() == 1) config["eos_token_id"] = eos[0];
  if (eos.size() > 1) config["eos_token_id"] = eos;
}

std::optional<std::int32_t> find_token_id(const GgufFile& file, const std::string& name) {
  const std::string key = "tokenizer.ggml." + name + "_token_id";
  if (!file.has(key)) return std::nullopt;
  return static_cast<std::int32_t>(file.get_int(key, 0, INT32_MAX));
}

}  // namespace

Json gguf_config(const GgufModel& model, const Architecture& architecture) {
  const GgufFile& file = model.metadata();
  const std::string prefix = std::string(architecture.gguf) + ".";
  const auto size = [&](const std::string& key) { return file.get_int(prefix + key, 1, kMaxSize); };
  if (file.get_int(prefix + "expert_count", 0, kMaxSize, 0) > 0) {
    fail("{}: mixture-of-experts models are not supported", file.file().path().string());
  }
  const std::int64_t hidden = size("embedding_length");
  const std::int64_t n_heads = size("attention.head_count");
  const std::int64_t head_dim =
      file.get_int(prefix + "attention.key_length", 1, kMaxSize, hidden / n_heads);
  for (const char* key : {"attention.value_length", "rope.dimension_count"}) {
    if (file.get_int(prefix + key, 1, kMaxSize, head_dim) != head_dim) {
      fail("{}: \"{}{}\" must be the head size {}", file.file().path().string(), prefix, key,
           head_dim);
    }
  }
  const TensorView& embedding = model.get("token_embd.weight");
  Json config = {
      {"architectures", {architecture.name}},
      {"model_type", architecture.model_type},
      {"vocab_size", embedding.rows()},
      {"hidden_size", hidden},
      {"intermediate_size", size("feed_forward_length")},
      {"num_hidden_layers", size("block_count")},
      {"num_attention_heads", n_heads},
      {"num_key_value_heads",
       file.get_int(prefix + "attention.head_count_kv", 1, kMaxSize, n_heads)},
      {"head_dim", head_dim},
      {"max_position_embeddings", size("context_length")},
      {"rms_norm_eps", file.get_number(prefix + "attention.layer_norm_rms_epsilon")},
      {"rope_theta", file.find_number(prefix + "rope.freq_base").value_or(10000.0)},
      {"rope_scaling", rope_scaling(model, prefix, head_dim)},
      {"tie_word_embeddings", !model.contains("output.weight")},
      {"attention_bias", has_bias(model, {"attn_q", "attn_k", "attn_v", "attn_output"})},
      {"mlp_bias", has_bias(model, {"ffn_gate", "ffn_up", "ffn_down"})},
      {"torch_dtype", "bfloat16"},
  };
  add_special_ids(file, config);
  return config;
}

std::optional<ForeignLayer> gguf_integers(const CheckpointTensor& tensor) {
  const DType dtype = tensor.view.dtype;
  const int bits = dtype == DType::kQ4_0   ? 4
                   : dtype == DType::kQ5_0 ? 5
                   : dtype == DType::kQ8_0 ? 8
                                           : 0;
  if (bits == 0) return std::nullopt;
  ForeignLayer layer;
  layer.format = dtype_name(dtype);
  layer.group_size = 32;
  layer.tensors = {tensor.name};
  IntegerMatrix& matrix = layer.matrix;
  matrix.codes = IntegerMatrix::Codes::kGgml;
  matrix.zeros = IntegerMatrix::Zeros::kMiddle;
  matrix.bits = bits;
  matrix.rows = tensor.view.rows();
  matrix.cols = tensor.view.cols();
  matrix.groups = matrix.cols / layer.group_size;
  matrix.code_tensor = tensor.view;
  matrix.scale_tensor.dtype = DType::kF16;  // they lie in the blocks
  matrix.interleaved_heads = tensor.interleaved_heads;
  for (std::int64_t col = 0; col < matrix.cols; ++col) {
    matrix.group_of.push_back(static_cast<std::int32_t>(col / layer.group_size));
  }
  return layer;
}

GgufVocab gguf_vocab(const GgufFile& file) {
  const auto text = [&](const char* key) {
    return std::string(file.find_string(key).value_or(""));
  };
  const auto copies = [](const std::vector<std::string_view>& views) {
    return std::vector<std::string>(views.begin(), views.end());
  };
  const std::string prefix = "tokenizer.ggml.";
  GgufVocab vocab;
  vocab.origin = file.file().path().string();
  vocab.model = file.get_string(prefix + "model");
  vocab.pre = text("tokenizer.ggml.pre");
  vocab.tokens = copies(file.get_strings(prefix + "tokens"));
  vocab.scores = file.find_floats(prefix + "scores").value_or(std::vector<float>());
  for (const std::int64_t type :
       file.find_ints(prefix + "token_type").value_or(std::vector<std::int64_t>())) {
    vocab.types.push_back(static_cast<std::int32_t>(type));
  }
  vocab.merges =
      copies(file.find_strings(prefix + "merges").value_or(std::vector<std::string_view>()));
  vocab.bos = find_token_id(file, "bos");
  vocab.eos = find_token_id(file, "eos");
  vocab.unk = find_token_id(file, "unknown");
  vocab.pad = find_token_id(file, "padding");
  vocab.eot = find_token_id(file, "eot");
  vocab.eom = find_token_id(file, "eom");
  vocab.add_bos = file.find_bool(prefix + "add_bos_token");
  vocab.add_eos = file.find_bool(prefix + "add_eos_token");
  vocab.add_space_prefix = file.find_bool(prefix + "add_space_prefix");
  vocab.remove_extra_whitespaces = file.find_bool(prefix + "remove_extra_whitespaces");
  vocab.chat_template = text("tokenizer.chat_template");
  return vocab;
}

}  // namespace nibble
