#include "nibble/convert/gguf_metadata.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "nibble/convert/parameter_reader.h"
#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/utf8.h"
#include "nibble/models/gguf_model.h"
#include "nibble/models/recipe_files.h"
#include "nibble/models/rope_frequencies.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {
namespace {

/// enum llama_ftype of llama.h: what most of the weights are.
std::uint32_t file_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ4_K:
      return 14;
    default:
      return 32;  // BF16
  }
}

DType main_type(const Checkpoint& checkpoint, std::optional<DType> type) {
  if (type) return *type;
  const auto format = integer_format(checkpoint, checkpoint.spec().linears().front());
  return format ? format->block_type : DType::kBF16;
}

std::uint32_t uint_of(std::int64_t value) {
  return static_cast<std::uint32_t>(value);
}

void add_sizes(const ModelSpec& spec, const std::string& prefix, GgufMetadata& metadata) {
  const auto set = [&](const char* key, std::int64_t value) {
    metadata.set_uint(prefix + key, uint_of(value));
  };
  set("vocab_size", spec.vocab);
  set("context_length", spec.context);
  set("embedding_length", spec.hidden);
  set("block_count", spec.n_layers);
  set("feed_forward_length", spec.intermediate);
  set("attention.head_count", spec.n_heads);
  set("attention.head_count_kv", spec.n_kv_heads);
  set("attention.key_length", spec.head_dim);
  set("attention.value_length", spec.head_dim);
  metadata.set_float(prefix + "attention.layer_norm_rms_epsilon", spec.norm.eps);
}

void add_rope(const RopeSpec& rope, std::int64_t head_dim, const std::string& prefix,
              GgufMetadata& metadata) {
  metadata.set_uint(prefix + "rope.dimension_count", uint_of(head_dim));
  metadata.set_float(prefix + "rope.freq_base", static_cast<float>(rope.theta));
  if (rope.scaling != RopeSpec::Scaling::kLinear) return;
  metadata.set(prefix + "rope.scaling.type", "linear");
  metadata.set_float(prefix + "rope.scaling.factor", static_cast<float>(rope.factor));
}

/// llama.cpp lets the tokens of these architectures see all that came before.
void note_windows(const ModelSpec& spec, std::vector<std::string>& notes) {
  const auto windows = std::count_if(spec.windows.begin(), spec.windows.end(),
                                     [&](auto window) { return window > 0; });
  if (windows == 0) return;
  notes.push_back(fmt::format(
      "GGUF has no place for the attention window of {} {}: results differ where a text is longer",
      windows, windows == 1 ? "layer" : "layers"));
}

/// One entry for each row of the embedding: llama.cpp expects as many tokens.
void fit_tokens(std::int64_t rows, GgufVocab& vocab, std::vector<std::string>& notes) {
  const auto count = static_cast<std::size_t>(rows);
  if (vocab.tokens.size() > count) {
    notes.push_back(fmt::format("{} tokens have no row in the embedding and are left out",
                                vocab.tokens.size() - count));
  }
  constexpr std::int32_t kUnused = 5;
  const std::size_t known = std::min(vocab.tokens.size(), count);
  vocab.tokens.resize(count);
  vocab.types.resize(count, kUnused);
  if (!vocab.scores.empty()) vocab.scores.resize(count, -1e4f);
  for (std::size_t id = known; id < count; ++id) vocab.tokens[id] = fmt::format("[PAD{}]", id);
}

/// All that ends a text: EOS is the tokenizer's, which its chat template writes; of the others two
/// have keys, and llama.cpp knows some by their text. Gives those that it will not heed.
std::vector<std::int32_t> place_ends(const ModelSpec& spec, GgufVocab& vocab,
                                     std::vector<std::string>& notes) {
  const auto in_vocab = [&](std::int32_t id) { return id >= 0 && id < std::ssize(vocab.tokens); };
  std::vector<std::int32_t> ends = spec.eos;
  for (const auto& id : {vocab.eot, vocab.eom}) {
    if (id) ends.push_back(*id);
  }
  std::erase_if(ends, [&](std::int32_t id) { return !in_vocab(id); });
  if (!vocab.eos && !ends.empty()) vocab.eos = ends.front();
  std::vector<std::int32_t> others;
  for (const bool named : {false, true}) {  // those without a known text need a key
    for (const std::int32_t id : ends) {
      const bool is_new = std::find(others.begin(), others.end(), id) == others.end();
      const bool is_named = is_gguf_end_name(vocab.tokens[static_cast<std::size_t>(id)]);
      if (id != vocab.eos && is_new && is_named == named) others.push_back(id);
    }
  }
  vocab.eot = others.empty() ? std::nullopt : std::optional(others[0]);
  vocab.eom = others.size() < 2 ? std::nullopt : std::optional(others[1]);
  others.erase(others.begin(), others.begin() + std::min<std::ptrdiff_t>(2, std::ssize(others)));
  std::erase_if(others, [&](std::int32_t id) {
    return is_gguf_end_name(vocab.tokens[static_cast<std::size_t>(id)]);
  });
  if (!others.empty()) {
    notes.push_back(
        fmt::format("GGUF has keys for three ends of a text: llama.cpp will not end at {}",
                    fmt::join(others, ", ")));
  }
  return others;
}

void add_tokenizer(const Checkpoint& checkpoint, GgufMetadata& metadata,
                   std::vector<std::string>& notes) {
  const ModelSpec& spec = checkpoint.spec();
  const std::string prefix = "tokenizer.ggml.";
  if (!checkpoint.has_tokenizer()) return metadata.set(prefix + "model", "none");
  GgufVocab vocab = checkpoint.load_tokenizer().to_gguf();
  fit_tokens(spec.vocab, vocab, notes);
  const std::vector<std::int32_t> more_ends = place_ends(spec, vocab, notes);
  metadata.set(prefix + "model", vocab.model);
  metadata.set(prefix + "pre", vocab.pre.empty() ? "default" : vocab.pre);
  metadata.set_strings(prefix + "tokens", vocab.tokens);
  if (!vocab.scores.empty()) metadata.set_floats(prefix + "scores", vocab.scores);
  metadata.set_ints(prefix + "token_type", vocab.types);
  if (!vocab.merges.empty()) metadata.set_strings(prefix + "merges", vocab.merges);
  const auto id = [&](const char* name, std::optional<std::int32_t> value) {
    if (value && *value >= 0 && *value < spec.vocab) {
      metadata.set_uint(prefix + name + "_token_id", uint_of(*value));
    }
  };
  id("bos", vocab.bos);
  id("eos", vocab.eos);
  id("unknown", vocab.unk);
  id("padding", vocab.pad);
  id("eot", vocab.eot);
  id("eom", vocab.eom);
  if (!more_ends.empty()) metadata.set_ints(kGgufMoreEnds, more_ends);
  metadata.set_bool(prefix + "add_bos_token", vocab.add_bos.value_or(false));
  metadata.set_bool(prefix + "add_eos_token", vocab.add_eos.value_or(false));
  if (vocab.add_space_prefix) {
    metadata.set_bool(prefix + "add_space_prefix", *vocab.add_space_prefix);
  }
  if (vocab.remove_extra_whitespaces) {
    metadata.set_bool(prefix + "remove_extra_whitespaces", *vocab.remove_extra_whitespaces);
  }
  if (!vocab.chat_template.empty()) metadata.set("tokenizer.chat_template", vocab.chat_template);
}

}  // namespace

const Architecture& gguf_architecture(const Checkpoint& checkpoint) {
  const std::string& name = checkpoint.spec().architecture;
  for (const Architecture* architecture : architectures()) {
    if (architecture->name == name && !architecture->gguf.empty()) return *architecture;
  }
  fail("{}: GGUF has no architecture for {}", checkpoint.path().string(), name);
}

std::vector<float> gguf_rope_factors(const ModelSpec& spec) {
  if (!spec.rope) return {};
  if (spec.rope->scaling == RopeSpec::Scaling::kFactors) return spec.rope->factors;
  if (spec.rope->scaling != RopeSpec::Scaling::kLlama3) return {};
  RopeSpec unscaled;
  unscaled.theta = spec.rope->theta;
  std::vector<float> factors = rope_frequencies(unscaled, spec.head_dim);
  const std::vector<float> scaled = rope_frequencies(*spec.rope, spec.head_dim);
  for (std::size_t i = 0; i < factors.size(); ++i) factors[i] /= scaled[i];
  return factors;
}

GgufMetadata gguf_metadata(const Checkpoint& checkpoint, const Architecture& architecture,
                           std::optional<DType> type, std::vector<std::string>& notes) {
  const ModelSpec& spec = checkpoint.spec();
  const std::string prefix = std::string(architecture.gguf) + ".";
  const std::filesystem::path source = std::filesystem::weakly_canonical(checkpoint.path());
  GgufMetadata metadata;
  metadata.set("general.architecture", architecture.gguf);
  metadata.set("general.type", "model");
  metadata.set(
      "general.name",
      replace_invalid_utf8((checkpoint.is_gguf() ? source.stem() : source.filename()).string()));
  if (const auto recipe = checkpoint.path() / kRecipeFile; file_exists(recipe)) {
    metadata.set("nibble.recipe", read_text_file(recipe));
  }
  metadata.set_uint("general.file_type", file_type(main_type(checkpoint, type)));
  metadata.set_uint("general.quantization_version", 2);
  add_sizes(spec, prefix, metadata);
  if (spec.rope) add_rope(*spec.rope, spec.head_dim, prefix, metadata);
  note_windows(spec, notes);
  add_tokenizer(checkpoint, metadata, notes);
  return metadata;
}

}  // namespace nibble
