// A SentencePiece BPE tokenizer as tokenizer.json says it, in the way of transformers'
// convert_slow_tokenizer.py (LlamaConverter): what pieces are made of becomes a list of merges, the
// best score first.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/files/loaders.h"

namespace nibble::tokenizers {
namespace {

using nlohmann::json;

constexpr const char* kBlank = "\xE2\x96\x81";

struct PieceMerge {
  std::int32_t left;
  std::int32_t right;
  float score;
};

/// The piece `text` if it can be a part of others, else -1.
std::int32_t part_id(const Parts& parts, std::string_view text) {
  const std::int32_t id = parts.vocab->find(text);
  if (id < 0) return -1;
  const PieceType type = parts.sentencepiece->types[static_cast<std::size_t>(id)];
  return type == PieceType::kNormal || type == PieceType::kUnused ? id : -1;
}

/// All pairs of pieces that make up `piece`, by the ids of the pair.
std::vector<PieceMerge> merges_of(const Parts& parts, std::string_view piece, float score) {
  std::vector<PieceMerge> merges;
  for (std::size_t cut = utf8_length(piece[0]); cut < piece.size();
       cut += utf8_length(piece[cut])) {
    const std::int32_t left = part_id(parts, piece.substr(0, cut));
    const std::int32_t right = left < 0 ? -1 : part_id(parts, piece.substr(cut));
    if (right >= 0) merges.push_back({left, right, score});
  }
  std::sort(merges.begin(), merges.end(), [](const PieceMerge& a, const PieceMerge& b) {
    return std::pair(a.left, a.right) < std::pair(b.left, b.right);
  });
  return merges;
}

json sentencepiece_merges(const Parts& parts) {
  const SentencePieceFile& file = *parts.sentencepiece;
  std::vector<PieceMerge> all;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const std::string& piece = file.pieces[id];
    if (piece.empty() || part_id(parts, piece) != static_cast<std::int32_t>(id)) continue;
    const auto some = merges_of(parts, piece, file.scores[id]);
    all.insert(all.end(), some.begin(), some.end());
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const PieceMerge& a, const PieceMerge& b) { return a.score > b.score; });
  json merges = json::array();
  for (const PieceMerge& merge : all) {
    merges.push_back({parts.vocab->text(merge.left), parts.vocab->text(merge.right)});
  }
  return merges;
}

json normalizer_json(const Parts& parts) {
  const SentencePieceFile& file = *parts.sentencepiece;
  if (file.remove_extra_whitespaces || !file.precompiled_charsmap.empty() ||
      !file.escape_whitespaces || file.treat_whitespace_as_suffix) {
    refuse("{}: a SentencePiece model that changes texts cannot be written as tokenizer.json",
           parts.origin);
  }
  json steps = json::array();
  if (file.add_dummy_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kBlank}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kBlank}});
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

json decoder_json(const Parts& parts) {
  json steps = {{{"type", "Replace"}, {"pattern", {{"String", kBlank}}}, {"content", " "}},
                {{"type", "ByteFallback"}},
                {{"type", "Fuse"}}};
  if (parts.sentencepiece->add_dummy_prefix) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", steps}};
}

json unknown_json(const SentencePieceFile& file) {
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.types[id] == PieceType::kUnknown) return file.pieces[id];
  }
  return nullptr;
}

}  // namespace

json sentencepiece_to_json(const Parts& parts) {
  const SentencePieceFile& file = *parts.sentencepiece;
  json vocab = json::object();
  for (std::size_t id = 0; id < file.pieces.size(); ++id) vocab[file.pieces[id]] = id;
  const auto around = [&](const std::vector<std::int32_t>& ids) {
    std::optional<std::pair<std::string, std::int32_t>> token;
    if (!ids.empty()) token.emplace(file.pieces.at(static_cast<std::size_t>(ids[0])), ids[0]);
    return token;
  };
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"normalizer", normalizer_json(parts)},
          {"pre_tokenizer", nullptr},
          {"post_processor", make_template(around(parts.prefix), around(parts.suffix))},
          {"decoder", decoder_json(parts)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", unknown_json(file)},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", true},
            {"byte_fallback", file.byte_fallback},
            {"ignore_merges", false},
            {"vocab", std::move(vocab)},
            {"merges", sentencepiece_merges(parts)}}}};
}

}  // namespace nibble::tokenizers
