#include "nibble/tokenizer/bpe/word_model.h"

#include <utility>

#include "nibble/core/utf8.h"
#include "nibble/tokenizer/text/blank_mark.h"

namespace nibble::tokenizers {
namespace {

void append_ids(const std::vector<Symbol>& symbols, std::vector<std::int32_t>& ids) {
  for (const Symbol& symbol : symbols) {
    if (symbol.length > 0) ids.push_back(symbol.id);
  }
}

}  // namespace

bool has_inner_boundary(std::string_view piece) {
  bool in_text = false;
  while (!piece.empty()) {
    const bool blank = piece.substr(0, kBlankMark.size()) == kBlankMark;
    if (blank && in_text) return true;
    in_text = in_text || !blank;
    piece.remove_prefix(utf8_length(piece[0]));
  }
  return false;
}

ByteBpe::ByteBpe(const ByteIds& bytes, std::shared_ptr<const MergeTable> merges,
                 std::optional<StringTable> words)
    : bytes_(bytes), merges_(std::move(merges)), words_(std::move(words)) {}

void ByteBpe::encode(std::string_view word, MergeScratch& scratch,
                     std::vector<std::int32_t>& ids) const {
  if (words_) {
    const std::int32_t id = words_->find(word);
    if (id >= 0) return ids.push_back(id);
  }
  scratch.symbols.clear();
  for (std::uint32_t i = 0; i < word.size(); ++i) {
    scratch.symbols.push_back({bytes_[static_cast<unsigned char>(word[i])], i, 1});
  }
  merges_->apply(scratch);
  append_ids(scratch.symbols, ids);
}

CharBpe::CharBpe(std::shared_ptr<const StringTable> vocab, std::shared_ptr<const MergeTable> merges,
                 const CharBpeOptions& options)
    : vocab_(std::move(vocab)), merges_(std::move(merges)), options_(options) {}

bool CharBpe::fall_back(std::string_view character, std::uint32_t begin,
                        std::vector<Symbol>& symbols) const {
  if (!options_.byte_tokens) return false;
  const ByteIds& tokens = *options_.byte_tokens;
  for (const char byte : character) {
    if (tokens[static_cast<unsigned char>(byte)] < 0) return false;
  }
  for (const char byte : character) {
    symbols.push_back({tokens[static_cast<unsigned char>(byte)], begin++, 1});
  }
  return true;
}

// An unknown character waits in `unknown` for others to fuse with, and is put down when a known one
// comes; byte tokens do not count as known ones. So does the `tokenizers` library.
void CharBpe::encode(std::string_view word, MergeScratch& scratch,
                     std::vector<std::int32_t>& ids) const {
  if (options_.ignore_merges) {
    const std::int32_t id = vocab_->find(word);
    if (id >= 0) return ids.push_back(id);
  }
  auto& symbols = scratch.symbols;
  symbols.clear();
  Symbol unknown{options_.unk, 0, 0};
  const auto flush = [&] {
    if (unknown.length > 0) symbols.push_back(unknown);
    unknown.length = 0;
  };
  for (std::uint32_t i = 0; i < word.size();) {
    const auto length = static_cast<std::uint32_t>(utf8_length(word[i]));
    const std::string_view character = word.substr(i, length);
    const std::int32_t id = vocab_->find(character);
    if (id >= 0) {
      flush();
      symbols.push_back({id, i, length});
    } else if (!fall_back(character, i, symbols) && options_.unk >= 0) {
      if (!options_.fuse_unk) flush();
      if (unknown.length == 0) unknown.begin = i;
      unknown.length += length;
    }
    i += length;
  }
  flush();
  merges_->apply(scratch);
  append_ids(symbols, ids);
}

}  // namespace nibble::tokenizers
