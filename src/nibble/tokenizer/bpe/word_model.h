// What turns a word (a piece of text that the pre-tokenizer left whole) into ids. Three kinds, all
// byte-pair encodings over the same MergeTable: on bytes (GPT-2 and after), on characters as the
// `tokenizers` library does it, and SentencePiece's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "nibble/tokenizer/bpe/merges.h"
#include "nibble/tokenizer/text/prefix_matcher.h"
#include "nibble/tokenizer/text/string_table.h"

namespace nibble::tokenizers {

class WordModel {
 public:
  virtual ~WordModel() = default;
  /// Appends the ids of `word` (valid UTF-8, not empty, below 2 GiB).
  virtual void encode(std::string_view word, MergeScratch& scratch,
                      std::vector<std::int32_t>& ids) const = 0;
};

/// For each byte the id of its token, or -1.
using ByteIds = std::array<std::int32_t, 256>;

/// BPE on bytes; every byte has a token.
class ByteBpe : public WordModel {
 public:
  /// `words`, if given, holds whole words (raw bytes) that are taken before any merging.
  ByteBpe(const ByteIds& bytes, std::shared_ptr<const MergeTable> merges,
          std::optional<StringTable> words);
  void encode(std::string_view word, MergeScratch& scratch,
              std::vector<std::int32_t>& ids) const override;

 private:
  ByteIds bytes_;
  std::shared_ptr<const MergeTable> merges_;
  std::optional<StringTable> words_;
};

struct CharBpeOptions {
  bool ignore_merges = false;          // a whole word that is a token is taken as it is
  std::optional<ByteIds> byte_tokens;  // for characters that have no token
  std::int32_t unk = -1;               // for what is left; -1: left out
  bool fuse_unk = false;               // one unk for a run of unknown characters
};

/// BPE on characters.
class CharBpe : public WordModel {
 public:
  CharBpe(std::shared_ptr<const StringTable> vocab, std::shared_ptr<const MergeTable> merges,
          const CharBpeOptions& options);
  void encode(std::string_view word, MergeScratch& scratch,
              std::vector<std::int32_t>& ids) const override;

 private:
  /// Puts the bytes' tokens of a character in place of its own, if all have one.
  bool fall_back(std::string_view character, std::uint32_t begin,
                 std::vector<Symbol>& symbols) const;

  std::shared_ptr<const StringTable> vocab_;
  std::shared_ptr<const MergeTable> merges_;
  CharBpeOptions options_;
};

/// The kinds of pieces, numbered as in sentencepiece_model.proto and in GGUF.
enum class PieceType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

/// BPE by the scores of pieces: of all pairs of neighbours that make a piece, the one of the best
/// score is merged first.
class SentencePieceBpe : public WordModel {
 public:
  /// Piece i has scores[i] and types[i]. Throws Error, opening with `origin`, if pieces are too
  /// long. `byte_tokens`: for characters that have no piece.
  SentencePieceBpe(std::shared_ptr<const StringTable> pieces, const std::vector<float>& scores,
                   std::vector<PieceType> types, std::optional<ByteIds> byte_tokens,
                   std::int32_t unk, const std::string& origin);
  void encode(std::string_view word, MergeScratch& scratch,
              std::vector<std::int32_t>& ids) const override;

  /// Whether nothing of a word can depend on what stands before a "▁" that follows another
  /// character, so that text may be cut there.
  bool separable() const { return separable_; }
  const PrefixMatcher& user_defined() const { return user_defined_; }

 private:
  bool mergeable(std::int32_t id) const;
  std::int32_t part_id(std::string_view part);
  void add_merges(const std::vector<float>& scores);
  void split_text(std::string_view word, std::vector<Symbol>& symbols) const;
  void emit(std::int32_t id, const MergeHistory& history, std::vector<std::int32_t>& ids) const;
  bool emit_unknown(std::string_view text, bool after_unknown,
                    std::vector<std::int32_t>& ids) const;

  std::shared_ptr<const StringTable> pieces_;
  std::vector<PieceType> types_;
  std::optional<ByteIds> byte_tokens_;
  std::int32_t unk_;
  StringTable stray_chars_;  // characters that are no pieces but parts of some; ids from 0
  PrefixMatcher user_defined_;
  MergeTable merges_;
  bool unused_reachable_ = false;  // merging can end in an unused piece, which is then taken apart
  bool separable_ = true;
};

/// Whether `piece` has a "▁" after another character.
bool has_inner_boundary(std::string_view piece);

}  // namespace nibble::tokenizers
