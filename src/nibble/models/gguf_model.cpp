#include "nibble/models/gguf_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/models/gguf_names.h"
#include "nibble/weights/dequantize.h"

namespace nibble {
namespace {

constexpr std::int64_t kMaxSize = 1 << 26;

/// GGUF keeps scaling by parts of the frequencies, llama3's for one, as a tensor of what they are
/// divided by. The config that means just that is longrope's, with one list for all lengths.
/// `factor`: that of linear scaling, which divides beside them.
Json factor_scaling(const GgufModel& model, const std::string& prefix, std::int64_t head_dim,
                    double factor) {
  const GgufFile& file = model.metadata();
  const TensorView& tensor = model.get(kGgufRopeFactors);
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
    factors[i] = static_cast<float>(factors[i] * factor);
  }
  const auto context = file.get_int(prefix + "context_length", 1, kMaxSize);
  return {{"rope_type", "longrope"}, {"attention_factor", 1.0},
          {"factor", 1.0},           {"original_max_position_embeddings", context},
          {"short_factor", factors}, {"long_factor", factors}};
}

/// As llama.cpp reads it: linear where no type is named, the factor under its key of 2023 too.
double linear_factor(const GgufFile& file, const std::string& prefix) {
  auto factor = file.find_number(prefix + "rope.scaling.factor");
  if (!factor) factor = file.find_number(prefix + "rope.scale_linear");
  const std::string type(file.find_string(prefix + "rope.scaling.type").value_or("linear"));
  if (type == "none" || factor.value_or(0) == 0 || *factor == 1) return 1;
  if (type != "linear" || *factor < 0) {
    fail(
        "{}: metadata keys \"{}rope.scaling.type\" {} with a factor of {}: expected linear or none",
        file.file().path().string(), prefix, quoted_name(type), *factor);
  }
  return *factor;
}

Json rope_scaling(const GgufModel& model, const std::string& prefix, std::int64_t head_dim) {
  const GgufFile& file = model.metadata();
  const double factor = linear_factor(file, prefix);
  if (model.contains(kGgufRopeFactors)) return factor_scaling(model, prefix, head_dim, factor);
  if (factor == 1) return nullptr;
  return {{"rope_type", "linear"}, {"factor", factor}};
}

/// What llama.cpp heeds for every architecture and nothing here computes.
void refuse_unknown_settings(const GgufFile& file, const std::string& prefix) {
  const std::string origin = file.file().path().string();
  const std::string kind(file.find_string("general.type").value_or("model"));
  if (kind != "model") {
    fail("{}: metadata key \"general.type\" is {}, expected a model", origin, quoted_name(kind));
  }
  if (file.get_int(prefix + "expert_count", 0, kMaxSize, 0) > 0) {
    fail("{}: mixture-of-experts models are not supported", origin);
  }
  if (!file.get_bool(prefix + "attention.causal", true)) {
    fail(
        "{}: metadata key \"{}attention.causal\" is false: tokens that see those behind them are "
        "not supported",
        origin, prefix);
  }
  const std::string attention_factor = prefix + "rope.scaling.attn_factor";
  if (const double factor = file.find_number(attention_factor).value_or(1); factor != 1) {
    fail("{}: metadata key \"{}\" of {} is not supported, expected 1", origin, attention_factor,
         factor);
  }
}

/// A size; where there is a list, one for each block, all must be the same.
std::int64_t read_size(const GgufFile& file, const std::string& key,
                       std::optional<std::int64_t> fallback = std::nullopt) {
  if (!file.is_array(key)) {
    return fallback ? file.get_int(key, 1, kMaxSize, *fallback) : file.get_int(key, 1, kMaxSize);
  }
  const std::vector<std::int64_t> sizes = file.get_ints(key);
  if (sizes.empty() || sizes[0] < 1 || sizes[0] > kMaxSize ||
      std::any_of(sizes.begin(), sizes.end(), [&](auto size) { return size != sizes[0]; })) {
    fail("{}: metadata key \"{}\" differs from block to block, expected one size for all",
         file.file().path().string(), key);
  }
  return sizes[0];
}

/// Whether one of these modules of a block has a bias: then all are to have one.
bool has_bias(const GgufModel& model, std::initializer_list<std::string_view> modules) {
  return std::any_of(modules.begin(), modules.end(), [&](std::string_view module) {
    return model.contains(fmt::format("blk.0.{}.bias", module));
  });
}

/// The special tokens as llama.cpp takes them: an id that is no token's is left out, and a
/// SentencePiece vocabulary that names none has them at its customary places.
class SpecialIds {
 public:
  explicit SpecialIds(const GgufFile& file)
      : file_(file), tokens_(file.find_strings("tokenizer.ggml.tokens")) {
    if (file.find_string("tokenizer.ggml.model") != "llama") return;
    defaults_ = {{"unknown", 0}, {"bos", 1}, {"eos", 2}};
  }

  std::optional<std::int32_t> find(const std::string& name) const {
    const std::string key = "tokenizer.ggml." + name + "_token_id";
    const auto id = file_.find_int(key);
    if (id && is_token(*id)) return static_cast<std::int32_t>(*id);
    if (id && *id != -1 && *id != UINT32_MAX) {
      warn("{}: \"{}\" is {}, which is no token: left out", file_.file().path().string(), key, *id);
    }
    const auto found = defaults_.find(name);
    if (found == defaults_.end() || !is_token(found->second)) return std::nullopt;
    return found->second;
  }

  /// All that end a text: those with a key of their own, and those that llama.cpp knows by name.
  std::vector<std::int32_t> ends() const {
    std::vector<std::int32_t> ids;
    const auto add = [&](std::int64_t id) {
      const bool is_new = std::find(ids.begin(), ids.end(), id) == ids.end();
      if (is_new && is_token(id)) ids.push_back(static_cast<std::int32_t>(id));
    };
    for (const char* name : {"eos", "eot", "eom"}) {
      if (const auto id = find(name)) add(*id);
    }
    for (const std::int64_t id :
         file_.find_ints(kGgufMoreEnds).value_or(std::vector<std::int64_t>())) {
      add(id);
    }
    if (!tokens_) return ids;
    for (std::size_t i = 0; i < tokens_->size(); ++i) {
      if (is_gguf_end_name((*tokens_)[i])) add(static_cast<std::int64_t>(i));
    }
    return ids;
  }

 private:
  bool is_token(std::int64_t id) const {
    return id >= 0 && (!tokens_ || id < std::ssize(*tokens_)) && id <= INT32_MAX;
  }

  const GgufFile& file_;
  std::optional<std::vector<std::string_view>> tokens_;
  std::map<std::string, std::int32_t> defaults_;
};

/// Ids that are not there are null: config.json's readers have defaults of their own for others.
void add_special_ids(const GgufFile& file, Json& config) {
  const SpecialIds special(file);
  const auto bos = special.find("bos");
  config["bos_token_id"] = bos ? Json(*bos) : Json(nullptr);
  const std::vector<std::int32_t> ends = special.ends();
  config["eos_token_id"] = ends.empty()       ? Json(nullptr)
                           : ends.size() == 1 ? Json(ends[0])
                                              : Json(ends);
}

}  // namespace

bool is_gguf_end_name(std::string_view token) {
  static constexpr std::array<std::string_view, 16> kNames = {
      "<|eot_id|>",    "<|im_end|>", "<|end|>",         "<|return|>",
      "<|call|>",      "<|flush|>",  "<|calls|>",       "<end_of_turn>",
      "<|endoftext|>", "<|eom_id|>", "<EOT>",           "_<EOT>",
      "[EOT]",         "[EOS]",      "<|end_of_text|>", "<end_of_utterance>"};
  return std::find(kNames.begin(), kNames.end(), token) != kNames.end();
}

Json gguf_config(const GgufModel& model, const Architecture& architecture) {
  const GgufFile& file = model.metadata();
  const std::string prefix = std::string(architecture.gguf) + ".";
  const auto size = [&](const std::string& key) { return read_size(file, prefix + key); };
  refuse_unknown_settings(file, prefix);
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
      {"num_key_value_heads", read_size(file, prefix + "attention.head_count_kv", n_heads)},
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
  const SpecialIds special(file);
  vocab.bos = special.find("bos");
  vocab.eos = special.find("eos");
  vocab.unk = special.find("unknown");
  vocab.pad = special.find("padding");
  vocab.eot = special.find("eot");
  vocab.eom = special.find("eom");
  vocab.add_bos = file.find_bool(prefix + "add_bos_token");
  vocab.add_eos = file.find_bool(prefix + "add_eos_token");
  vocab.add_space_prefix = file.find_bool(prefix + "add_space_prefix");
  vocab.remove_extra_whitespaces = file.find_bool(prefix + "remove_extra_whitespaces");
  vocab.chat_template = text("tokenizer.chat_template");
  return vocab;
}

}  // namespace nibble
