#include "nibble/models/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/weights/dequantize.h"

namespace nibble {
namespace {

constexpr std::int64_t kMaxSize = 1 << 26;

/// The factors by which llama3 scaling divides the frequencies (transformers,
/// modeling_rope_utils.py: _compute_llama3_parameters), for original context 8192, low 1 and
/// high 4.
std::vector<double> llama3_factors(double theta, std::size_t half, double factor) {
  std::vector<double> factors(half);
  for (std::size_t i = 0; i < half; ++i) {
    const double wavelength =
        2 * M_PI * std::pow(theta, static_cast<double>(i) / static_cast<double>(half));
    const double smooth = std::clamp((8192 / wavelength - 1) / (4 - 1), 0.0, 1.0);
    factors[i] = 1 / ((1 - smooth) / factor + smooth);
  }
  return factors;
}

/// GGUF keeps llama3 scaling as a tensor of factors; finds the parameters that give them.
Json llama3_scaling(const GgufFile& file, const TensorView& tensor, double theta) {
  std::vector<float> found(static_cast<std::size_t>(tensor.elements()));
  dequantize_rows(tensor, 0, tensor.rows(), found.data());
  const double factor = found.empty() ? 1.0 : *std::max_element(found.begin(), found.end());
  const std::vector<double> expected = llama3_factors(theta, found.size(), factor);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!(std::abs(found[i] - expected[i]) <= 1e-3 * expected[i])) {
      fail("{}: tensor \"rope_freqs.weight\": factor {} is {}, expected {} of llama3 scaling by {}",
           file.file().path().string(), i, found[i], expected[i], factor);
    }
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
}

Json rope_scaling(const GgufFile& file, const std::string& prefix, double theta) {
  if (const TensorView* factors = file.find("rope_freqs.weight")) {
    return llama3_scaling(file, *factors, theta);
  }
  const auto type = file.find_string(prefix + "rope.scaling.type");
  if (!type || *type == "none") return nullptr;
  return {{"rope_type", std::string(*type)},
          {"factor", file.get_number(prefix + "rope.scaling.factor")}};
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

Json gguf_config(const GgufFile& file, const Architecture& architecture) {
  const std::string prefix = std::string(architecture.gguf) + ".";
  const auto size = [&](const std::string& key) { return file.get_int(prefix + key, 1, kMaxSize); };
  if (file.get_int(prefix + "expert_count", 0, kMaxSize, 0) > 0) {
    fail("{}: mixture-of-experts models are not supported", file.file().path().string());
  }
  const std::int64_t hidden = size("embedding_length");
  const std::int64_t n_heads = size("attention.head_count");
  const double theta = file.find_number(prefix + "rope.freq_base").value_or(10000.0);
  const TensorView& embedding = file.get("token_embd.weight");
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
      {"head_dim", file.get_int(prefix + "attention.key_length", 1, kMaxSize, hidden / n_heads)},
      {"max_position_embeddings", size("context_length")},
      {"rms_norm_eps", file.get_number(prefix + "attention.layer_norm_rms_epsilon")},
      {"hidden_act", "silu"},
      {"rope_theta", theta},
      {"rope_scaling", rope_scaling(file, prefix, theta)},
      {"tie_word_embeddings", !file.contains("output.weight")},
      {"attention_bias", file.contains("blk.0.attn_q.bias")},
      {"mlp_bias", file.contains("blk.0.ffn_gate.bias")},
      {"torch_dtype", "bfloat16"},
  };
  const std::int64_t head_dim = config["head_dim"].get<std::int64_t>();
  if (file.get_int(prefix + "rope.dimension_count", 1, kMaxSize, head_dim) != head_dim) {
    fail("{}: \"{}rope.dimension_count\" must be the head size {}", file.file().path().string(),
         prefix, head_dim);
  }
  add_special_ids(file, config);
  return config;
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
