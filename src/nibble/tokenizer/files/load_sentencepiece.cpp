// A SentencePiece BPE tokenizer, from tokenizer.model or from GGUF's "llama" tables.
#include <nlohmann/json.hpp>

#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"
#include "nibble/tokenizer/steps/sentencepiece_normalizer.h"

namespace nibble::tokenizers {
namespace {

constexpr const char* kDecoder = R"({"type": "Sequence", "decoders": [
  {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
  {"type": "ByteFallback"}, {"type": "Fuse"}]})";
constexpr const char* kStrippingDecoder = R"({"type": "Sequence", "decoders": [
  {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
  {"type": "ByteFallback"}, {"type": "Fuse"},
  {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

void check(const SentencePieceFile& file, const std::string& origin) {
  if (file.model_type == 1) {
    refuse("{}: a SentencePiece model of type unigram is not supported, expected BPE", origin);
  }
  if (file.model_type != 2) {
    refuse("{}: a SentencePiece model of type {}, expected BPE (2)", origin, file.model_type);
  }
  if (file.pieces.size() >= static_cast<std::size_t>(kMaxTokenId)) {
    refuse("{}: {} pieces, at most {} allowed", origin, file.pieces.size(), kMaxTokenId);
  }
}

ByteIds byte_pieces(const SentencePieceFile& file, const std::string& origin) {
  ByteIds ids;
  ids.fill(-1);
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.types[id] != PieceType::kByte) continue;
    const int byte = byte_of_token(file.pieces[id]);
    if (byte < 0) refuse("{}: the byte piece {} is '{}'", origin, id, file.pieces[id]);
    ids[static_cast<std::size_t>(byte)] = static_cast<std::int32_t>(id);
  }
  for (std::size_t byte = 0; byte < ids.size(); ++byte) {
    if (ids[byte] < 0) refuse("{}: byte fallback without a piece <0x{:02X}>", origin, byte);
  }
  return ids;
}

std::int32_t unknown_piece(const SentencePieceFile& file, const std::string& origin) {
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.types[id] == PieceType::kUnknown) return static_cast<std::int32_t>(id);
  }
  if (file.byte_fallback) return -1;
  refuse("{}: a SentencePiece model without an unknown piece", origin);
}

std::vector<AddedToken> control_tokens(const SentencePieceFile& file) {
  std::vector<AddedToken> tokens;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const PieceType type = file.types[id];
    if (file.pieces[id].empty()) continue;
    if (type == PieceType::kControl || type == PieceType::kUnknown) {
      tokens.push_back(
          {.id = static_cast<std::int32_t>(id), .content = file.pieces[id], .special = true});
    }
  }
  return tokens;
}

/// The piece of a control id of trainer_spec, where tokenizer_config.json names none.
void default_name(std::optional<std::string>& name, const SentencePieceFile& file,
                  std::int64_t id) {
  if (name || id < 0 || id >= static_cast<std::int64_t>(file.pieces.size())) return;
  const auto index = static_cast<std::size_t>(id);
  if (file.types[index] == PieceType::kControl) name = file.pieces[index];
}

void fill_decoder(Parts& parts, const SentencePieceFile& file, const std::string& origin) {
  const bool strips = file.add_dummy_prefix || file.remove_extra_whitespaces;
  parts.decoder =
      TokenDecoder(nlohmann::json::parse(strips ? kStrippingDecoder : kDecoder), origin);
  if (file.remove_extra_whitespaces) parts.decoder.strip_per_token();
  for (std::size_t i = 0; i < file.pieces.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const bool marked =  // added tokens are in the text as they are
        file.types[i] == PieceType::kUserDefined || !parts.added.find(id);
    marked ? parts.decoder.add(id, file.pieces[i]) : parts.decoder.add_raw(id, file.pieces[i]);
  }
  for (const AddedToken& token : parts.added.tokens()) {
    if (!parts.vocab->has(token.id)) parts.decoder.add_raw(token.id, token.content);
  }
}

}  // namespace

std::unique_ptr<Parts> build_sentencepiece(SentencePieceFile file, const TokenizerConfig& config,
                                           const std::string& origin) {
  check(file, origin);
  auto parts = std::make_unique<Parts>();
  parts->origin = origin;
  auto pieces = std::make_shared<StringTable>();
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    pieces->add(static_cast<std::int32_t>(id), file.pieces[id]);
  }
  parts->vocab = pieces;
  std::optional<ByteIds> bytes;
  if (file.byte_fallback) bytes = byte_pieces(file, origin);
  auto model = std::make_unique<SentencePieceBpe>(pieces, file.scores, file.types, bytes,
                                                  unknown_piece(file, origin), origin);
  parts->normalizer =
      std::make_unique<SentencePieceNormalizer>(file, model->user_defined(), config.legacy, origin);
  if (model->separable()) parts->pre_tokenizer.add_boundary_cuts();
  parts->model = std::move(model);

  TokenizerConfig full = config;
  default_name(full.bos, file, file.bos_id);
  default_name(full.eos, file, file.eos_id);
  default_name(full.pad, file, file.pad_id);
  std::vector<AddedToken> added = control_tokens(file);
  declare_tokens(added, *pieces, full, origin);
  parts->added = AddedTokens(std::move(added), nullptr, origin);
  declare_ids(*parts, full);
  if (config.add_bos.value_or(true) && parts->declared.bos) {
    parts->prefix = {*parts->declared.bos};
  }
  if (config.add_eos.value_or(false) && parts->declared.eos) {
    parts->suffix = {*parts->declared.eos};
  }
  parts->legacy = config.legacy;
  fill_decoder(*parts, file, origin);
  parts->sentencepiece = std::move(file);
  return parts;
}

}  // namespace nibble::tokenizers
