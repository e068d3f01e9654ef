// SentencePieceBpe of word_model.h. The algorithm is that of SentencePiece's bpe_model.cc; instead
// of looking up the joined text of every two neighbours, all pairs that make a piece are worked out
// at load, with ranks in place of scores.
#include <algorithm>
#include <numeric>
#include <utility>

#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/bpe/word_model.h"
#include "nibble/tokenizer/text/blank_mark.h"

namespace nibble::tokenizers {
namespace {

// Every split of every piece is looked up at load: the bound keeps that linear in the file's size.
constexpr std::size_t kMaxPieceBytes = 1024;

/// Ranks by descending score; equal scores have equal ranks.
std::vector<std::uint32_t> score_ranks(const std::vector<float>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  std::vector<std::uint32_t> ranks(scores.size());
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && scores[order[i]] != scores[order[i - 1]]) ++rank;
    ranks[order[i]] = rank;
  }
  return ranks;
}

}  // namespace

SentencePieceBpe::SentencePieceBpe(std::shared_ptr<const StringTable> pieces,
                                   const std::vector<float>& scores, std::vector<PieceType> types,
                                   std::optional<ByteIds> byte_tokens, std::int32_t unk,
                                   const std::string& origin)
    : pieces_(std::move(pieces)), types_(std::move(types)), byte_tokens_(byte_tokens), unk_(unk) {
  if (pieces_->max_bytes() > kMaxPieceBytes) {
    refuse("{}: a piece of {} bytes, at most {} allowed", origin, pieces_->max_bytes(),
           kMaxPieceBytes);
  }
  for (std::int32_t id = 0; id < pieces_->size(); ++id) {
    const std::string_view text = pieces_->text(id);
    const PieceType type = types_[static_cast<std::size_t>(id)];
    if (type == PieceType::kUserDefined && !text.empty()) user_defined_.add(text, id);
    const bool in_text = mergeable(id) || type == PieceType::kUserDefined;
    if (in_text && has_inner_boundary(text)) separable_ = false;
  }
  const std::int32_t blank = pieces_->find(kBlankMark);
  if (blank < 0 || !mergeable(blank)) separable_ = false;  // a run of unknowns could cross a cut
  add_merges(scores);
  if (unused_reachable_) separable_ = false;  // how one is taken apart depends on the whole text
}

bool SentencePieceBpe::mergeable(std::int32_t id) const {
  const PieceType type = types_[static_cast<std::size_t>(id)];
  return type == PieceType::kNormal || type == PieceType::kUnused;
}

/// The symbol that `part` of a piece can be: a piece, or a single character; else -1.
std::int32_t SentencePieceBpe::part_id(std::string_view part) {
  const std::int32_t id = pieces_->find(part);
  if (id >= 0 && mergeable(id)) return id;
  if (part.size() != utf8_length(part[0])) return -1;
  std::int32_t stray = stray_chars_.find(part);
  if (stray < 0) stray_chars_.add(stray = stray_chars_.size(), part);
  return pieces_->size() + stray;
}

void SentencePieceBpe::add_merges(const std::vector<float>& scores) {
  const std::vector<std::uint32_t> ranks = score_ranks(scores);
  for (std::int32_t id = 0; id < pieces_->size(); ++id) {
    const std::string_view piece = pieces_->text(id);
    if (!mergeable(id) || pieces_->find(piece) != id) continue;
    for (std::size_t cut = 0; cut < piece.size();) {
      cut += utf8_length(piece[cut]);
      if (cut >= piece.size()) break;
      const std::int32_t left = part_id(piece.substr(0, cut));
      const std::int32_t right = left < 0 ? -1 : part_id(piece.substr(cut));
      if (right < 0) continue;
      merges_.add({left, right, ranks[static_cast<std::size_t>(id)], id});
      if (types_[static_cast<std::size_t>(id)] == PieceType::kUnused) unused_reachable_ = true;
    }
  }
}

void SentencePieceBpe::split_text(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  for (std::uint32_t i = 0; i < word.size();) {
    const PrefixMatcher::Match match = user_defined_.longest(word.substr(i));
    const auto length =
        static_cast<std::uint32_t>(match.length > 0 ? match.length : utf8_length(word[i]));
    std::int32_t id = match.value;
    if (match.length == 0) {
      const std::string_view character = word.substr(i, length);
      id = pieces_->find(character);
      if (id < 0 || !mergeable(id)) {
        const std::int32_t stray = stray_chars_.find(character);
        id = stray < 0 ? -1 : pieces_->size() + stray;
      }
    }
    symbols.push_back({id, i, length});
    i += length;
  }
}

/// Appends a piece, or what an unused piece was made of.
void SentencePieceBpe::emit(std::int32_t id, const MergeHistory& history,
                            std::vector<std::int32_t>& ids) const {
  std::vector<std::int32_t> pending{id};
  while (!pending.empty()) {
    const std::int32_t top = pending.back();
    pending.pop_back();
    const auto parts = history.find(top);
    const bool unused = top >= 0 && top < pieces_->size() &&
                        types_[static_cast<std::size_t>(top)] == PieceType::kUnused;
    if (!unused || parts == history.end()) {
      ids.push_back(top);
    } else {
      pending.push_back(parts->second.second);
      pending.push_back(parts->second.first);
    }
  }
}

/// Appends what stands for a character without a piece: its bytes' tokens, or one unk for a run.
bool SentencePieceBpe::emit_unknown(std::string_view text, bool after_unknown,
                                    std::vector<std::int32_t>& ids) const {
  if (!byte_tokens_) {
    if (!after_unknown) ids.push_back(unk_);
    return true;
  }
  for (const char byte : text) ids.push_back((*byte_tokens_)[static_cast<unsigned char>(byte)]);
  return false;
}

void SentencePieceBpe::encode(std::string_view word, MergeScratch& scratch,
                              std::vector<std::int32_t>& ids) const {
  split_text(word, scratch.symbols);
  MergeHistory history;
  merges_.apply(scratch, unused_reachable_ ? &history : nullptr);
  bool after_unknown = false;
  std::vector<std::int32_t> parts;
  for (const Symbol& symbol : scratch.symbols) {
    if (symbol.length == 0) continue;
    if (symbol.id >= 0 && symbol.id < pieces_->size() && history.empty()) {
      ids.push_back(symbol.id);
      after_unknown = false;
      continue;
    }
    parts.clear();
    emit(symbol.id, history, parts);
    for (const std::int32_t id : parts) {
      const bool known = id >= 0 && id < pieces_->size();
      if (known) ids.push_back(id);
      const std::string_view text = id < 0 || known ? word.substr(symbol.begin, symbol.length)
                                                    : stray_chars_.text(id - pieces_->size());
      after_unknown = !known && emit_unknown(text, after_unknown, ids);
    }
  }
}

}  // namespace nibble::tokenizers
