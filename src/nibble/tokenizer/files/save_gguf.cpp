// A tokenizer as GGUF's tables: "gpt2" for BPE on bytes, "llama" for SentencePiece's BPE and for
// what tokenizer.json makes of it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"
#include "nibble/tokenizer/steps/word_patterns.h"

namespace nibble::tokenizers {
namespace {

using nlohmann::json;

/// What a description has under `key`, null where it has nothing.
json gguf_part_of(const json& description, const char* key) {
  return description.is_object() ? description.value(key, json()) : json();
}

[[noreturn]] void cannot_describe(const Parts& parts, std::string_view what) {
  refuse("{}: GGUF has no name for {}", parts.origin, what);
}

/// The patterns by which "pre_tokenizer" cuts text, one inside the other.
void add_patterns(const Parts& parts, const json& step, std::vector<std::string>& patterns) {
  const std::string type = step.value("type", "");
  if (type == "Sequence") {
    for (const json& inner : gguf_part_of(step, "pretokenizers"))
      add_patterns(parts, inner, patterns);
  } else if (type == "Split" && gguf_part_of(step, "pattern").contains("Regex")) {
    const std::string behavior = step.value("behavior", "");
    const bool inverted = step.value("invert", false);
    // What is between words is words too: a pattern that matches all text leaves nothing there.
    if (behavior != (inverted ? "Removed" : "Isolated")) {
      cannot_describe(parts, "a pre_tokenizer that is a Split by " + behavior);
    }
    patterns.push_back(step["pattern"]["Regex"]);
  } else if (type == "Digits" && step.value("individual_digits", false)) {
    patterns.emplace_back(R"(\p{N})");
  } else if (type == "ByteLevel" && !step.value("add_prefix_space", true)) {
    if (step.value("use_regex", true)) patterns.emplace_back(kGpt2Pattern);
  } else {
    cannot_describe(parts, "a pre_tokenizer of type " + type);
  }
}

std::string pre_name(const Parts& parts) {
  const json& description = parts.json->description;
  const json normalizer = gguf_part_of(description, "normalizer");
  const bool nfc = normalizer.is_object() && normalizer.value("type", "") == "NFC";
  if (!normalizer.is_null() && !nfc) cannot_describe(parts, "its normalizer");
  std::vector<std::string> patterns;
  add_patterns(parts, gguf_part_of(description, "pre_tokenizer"), patterns);
  const bool ignore_merges = gguf_part_of(description, "model").value("ignore_merges", false);
  const std::string name = find_gguf_pre(patterns, ignore_merges, nfc);
  if (name.empty()) cannot_describe(parts, "how it cuts text into words (pre_tokenizer)");
  return name;
}

/// What all kinds have in common: tokens and their types by id, and what is declared.
GgufVocab make_tables(const Parts& parts) {
  GgufVocab vocab;
  vocab.origin = parts.origin;
  std::int32_t size = parts.vocab->size();
  for (const AddedToken& token : parts.added.tokens()) size = std::max(size, token.id + 1);
  for (std::int32_t id = 0; id < size; ++id) {
    const AddedToken* added = parts.added.find(id);
    const bool has_token = added != nullptr || parts.vocab->has(id);
    const PieceType type = added != nullptr
                               ? (added->special ? PieceType::kControl : PieceType::kUserDefined)
                           : has_token ? PieceType::kNormal
                                       : PieceType::kUnused;
    vocab.tokens.push_back(!has_token         ? fmt::format("[PAD{}]", id)
                           : added != nullptr ? added->content
                                              : std::string(parts.vocab->text(id)));
    vocab.types.push_back(static_cast<std::int32_t>(type));
  }
  vocab.bos = parts.declared.bos;
  vocab.eos = parts.declared.eos;
  vocab.unk = parts.declared.unk;
  vocab.pad = parts.declared.pad;
  vocab.chat_template = parts.declared.chat_template;
  return vocab;
}

/// Whether the one token around a text is there: GGUF adds BOS in front and EOS behind, or nothing.
/// What is added is that token, where nothing else declares it.
bool adds(const Parts& parts, const std::vector<std::int32_t>& ids,
          std::optional<std::int32_t>& declared, const char* what) {
  if (ids.empty()) return false;
  if (!declared) declared = ids[0];
  if (ids.size() != 1 || ids[0] != declared) {
    cannot_describe(parts, fmt::format("the {} tokens it puts {} a text", ids.size(), what));
  }
  return true;
}

void add_merges(const Parts& parts, GgufVocab& vocab) {
  for (const auto& merge : parts.json->merges->sorted()) {
    const std::string_view left = parts.vocab->text(merge.left);
    const std::string_view right = parts.vocab->text(merge.right);
    if (left.find(' ') != std::string_view::npos || right.find(' ') != std::string_view::npos) {
      cannot_describe(parts, "merges of tokens that contain a blank");
    }
    vocab.merges.push_back(fmt::format("{} {}", left, right));
  }
}

void set_type(GgufVocab& vocab, std::int64_t id, PieceType type) {
  vocab.types[static_cast<std::size_t>(id)] = static_cast<std::int32_t>(type);
}

/// SentencePiece's own tables.
void add_pieces(const SentencePieceFile& file, GgufVocab& vocab) {
  vocab.scores.resize(vocab.tokens.size());
  std::copy(file.scores.begin(), file.scores.end(), vocab.scores.begin());
  for (std::size_t id = 0; id < file.types.size(); ++id) {
    if (file.types[id] != PieceType::kNormal) {
      set_type(vocab, static_cast<std::int64_t>(id), file.types[id]);
    }
  }
  vocab.add_space_prefix = file.add_dummy_prefix;
  vocab.remove_extra_whitespaces = file.remove_extra_whitespaces;
  vocab.precompiled_charsmap = file.precompiled_charsmap;
}

/// Whether tokenizer.json puts a "▁" in front of a text.
bool prepends_blank(const json& description) {
  const std::string text = gguf_part_of(description, "normalizer").dump() +
                           gguf_part_of(description, "pre_tokenizer").dump();
  return text.find("\"Prepend\"") != std::string::npos ||
         text.find(R"("prepend_scheme":"always")") != std::string::npos ||
         text.find(R"("prepend_scheme":"first")") != std::string::npos;
}

/// Pieces out of a tokenizer.json that was made of a SentencePiece model: what is merged first has
/// the best score.
void add_pieces(const Parts& parts, GgufVocab& vocab) {
  const json model = gguf_part_of(parts.json->description, "model");
  if (!model.value("byte_fallback", false) || parts.vocab->find("\xE2\x96\x81") < 0) {
    cannot_describe(parts, "BPE on characters without byte_fallback and \"\xE2\x96\x81\"");
  }
  const auto merges = parts.json->merges->sorted();
  vocab.scores.assign(vocab.tokens.size(), -static_cast<float>(merges.size()));
  for (std::size_t i = merges.size(); i-- > 0;) {
    vocab.scores[static_cast<std::size_t>(merges[i].result)] = -static_cast<float>(i);
  }
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (byte_of_token(vocab.tokens[id]) >= 0 && vocab.types[id] == 1) {
      set_type(vocab, static_cast<std::int64_t>(id), PieceType::kByte);
    }
  }
  if (const auto unk = model.find("unk_token"); unk != model.end() && unk->is_string()) {
    const std::int32_t id = parts.vocab->find(unk->get<std::string>());
    if (id >= 0) {
      set_type(vocab, id, PieceType::kUnknown);
      vocab.unk = id;
    }
  }
  vocab.add_space_prefix = prepends_blank(parts.json->description);
  vocab.remove_extra_whitespaces = false;
}

}  // namespace

GgufVocab make_gguf_vocab(const Parts& parts) {
  GgufVocab vocab = make_tables(parts);
  const bool byte_level =
      parts.json && ends_in_byte_level(gguf_part_of(parts.json->description, "pre_tokenizer"));
  vocab.model = byte_level ? "gpt2" : "llama";
  if (byte_level) {
    vocab.pre = pre_name(parts);
    add_merges(parts, vocab);
  } else if (parts.sentencepiece) {
    add_pieces(*parts.sentencepiece, vocab);
  } else {
    add_pieces(parts, vocab);
  }
  vocab.add_bos = adds(parts, parts.prefix, vocab.bos, "before");
  vocab.add_eos = adds(parts, parts.suffix, vocab.eos, "behind");
  return vocab;
}

}  // namespace nibble::tokenizers
