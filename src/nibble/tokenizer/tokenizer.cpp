#include "nibble/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "nibble/core/interrupt.h"
#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/files/loaders.h"
#include "nibble/tokenizer/parts.h"
#include "nibble/tokenizer/text/hash.h"

namespace nibble {

using namespace tokenizers;

namespace tokenizers {

std::unique_ptr<Scratch> ScratchPool::take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return std::make_unique<Scratch>();
  auto scratch = std::move(free_.back());
  free_.pop_back();
  return scratch;
}

void ScratchPool::give_back(std::unique_ptr<Scratch> scratch) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(scratch));
}

namespace {

constexpr std::size_t kMaxText = 1u << 30;
// Above this, merging memory is not kept: one long text should not stay in memory for ever.
constexpr std::size_t kMaxKeptSymbols = 1u << 16;

constexpr std::array<std::string_view, 12> kEndNames{
    "</s>",          "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>",
    "<end_of_turn>", "<|end|>",       "<|endofturn|>",   "<|eot|>",    "<|return|>", "<EOT>"};

/// One encode() under way.
class Encoder {
 public:
  Encoder(const Parts& parts, bool parse_special, std::vector<std::int32_t>& ids)
      : parts_(parts), parse_special_(parse_special), ids_(ids), scratch_(parts.scratch.take()) {}

  ~Encoder() {
    MergeScratch& merge = scratch_->merge;
    if (merge.symbols.capacity() > kMaxKeptSymbols) merge = {};
    try {
      parts_.scratch.give_back(std::move(scratch_));
    } catch (...) {  // no memory for the list: the scratch is made anew next time
    }
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void encode(std::string_view text) {
    parts_.added.split_raw(text, parse_special_, [&](Section section) {
      if (section.id >= 0) return ids_.push_back(section.id);
      encode_section(section.text, section.text.data() == text.data());
    });
  }

 private:
  void encode_section(std::string_view text, bool at_start) {
    if (!parts_.normalizer || parts_.normalizer->leaves(text)) {
      return encode_normalized(text, at_start);
    }
    const std::string normalized = parts_.normalizer->normalize(text, at_start);
    if (normalized.size() > 2 * kMaxText) refuse("{}: text too long", parts_.origin);
    encode_normalized(normalized, at_start);
  }

  void encode_normalized(std::string_view text, bool at_start) {
    parts_.added.split_normalized(text, parse_special_, [&](Section section) {
      if (section.id >= 0) return ids_.push_back(section.id);
      const bool first = at_start && section.text.data() == text.data();
      parts_.pre_tokenizer.split(section.text, first, [&](Piece word) { encode_word(word.text); });
    });
  }

  void encode_word(std::string_view word) {
    if (++words_ % kWordsBetweenChecks == 0) check_interrupt();
    if (word.size() > WordCache::kMaxBytes) {
      return parts_.model->encode(word, scratch_->merge, ids_);
    }
    const std::uint64_t hash = hash_bytes(word);
    WordCache::Place& place = scratch_->cache.place(hash);
    if (WordCache::holds(place, word, hash)) {
      ids_.insert(ids_.end(), place.id, place.id + place.ids);
      return;
    }
    const std::size_t before = ids_.size();
    parts_.model->encode(word, scratch_->merge, ids_);
    const auto found = std::span(ids_).subspan(before);
    if (found.size() <= WordCache::kMaxIds) WordCache::fill(place, word, hash, found);
  }

  static constexpr std::int64_t kWordsBetweenChecks = 4096;

  const Parts& parts_;
  bool parse_special_;
  std::vector<std::int32_t>& ids_;
  std::int64_t words_ = 0;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace
}  // namespace tokenizers

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  return Tokenizer(load_folder(folder));
}

Tokenizer Tokenizer::from_gguf(const GgufVocab& vocab) {
  return Tokenizer(load_gguf_vocab(vocab));
}

void Tokenizer::save_as_json(const std::filesystem::path& folder) const {
  save_parts_as_json(*parts_, folder);
}

GgufVocab Tokenizer::to_gguf() const {
  return tokenizers::make_gguf_vocab(*parts_);
}

void Tokenizer::save(const std::filesystem::path& folder) const {
  save_parts(*parts_, folder);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text,
                                            const EncodeOptions& options) const {
  if (text.size() > kMaxText) {
    refuse("a text of {} bytes is too long for the tokenizer, at most {} allowed", text.size(),
           kMaxText);
  }
  std::string repaired;
  if (!is_valid_utf8(text)) text = repaired = replace_invalid_utf8(text);
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 4 + 16);
  if (options.add_special) ids = parts_->prefix;
  Encoder(*parts_, options.parse_special, ids).encode(text);
  if (options.add_special) ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  StreamDecoder stream(*this, {.skip_special = skip_special});
  std::string text;
  for (const std::int32_t id : ids) text += stream.push(id);
  return text += stream.finish();
}

std::int32_t Tokenizer::vocab_size() const {
  const auto& added = parts_->added.tokens();
  return std::max(parts_->vocab->size(), added.empty() ? 0 : added.back().id + 1);
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = parts_->added.find(token)) return added->id;
  const std::int32_t id = parts_->vocab->find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

std::string_view Tokenizer::id_to_token(std::int32_t id) const {
  if (const AddedToken* added = parts_->added.find(id)) return added->content;
  return parts_->vocab->text(id);
}

std::optional<std::int32_t> Tokenizer::bos_id() const {
  return parts_->declared.bos;
}
std::optional<std::int32_t> Tokenizer::eos_id() const {
  return parts_->declared.eos;
}

std::vector<std::int32_t> Tokenizer::end_ids() const {
  std::vector<std::int32_t> ids;
  const auto add = [&](std::int32_t id) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  };
  if (parts_->declared.eos) add(*parts_->declared.eos);
  for (const std::int32_t id : parts_->declared.other_ends) add(id);
  for (const std::string_view name : kEndNames) {
    const AddedToken* token = parts_->added.find(name);
    if (token && token->special) add(token->id);
  }
  return ids;
}

std::string_view Tokenizer::token_bytes(std::int32_t id) const {
  return parts_->decoder.bytes(id);
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, const StreamOptions& options)
    : parts_(tokenizer.parts_.get()), options_(options) {
  finish();
}

std::string StreamDecoder::push(std::int32_t id) {
  std::string text;
  const AddedToken* added = parts_->added.find(id);
  if (options_.skip_special && added && added->special) return text;
  std::string_view bytes = parts_->decoder.bytes(id);
  const StartRule& rule = parts_->decoder.start_rule();
  std::string dropped;
  if (first_ && !rule.drop.empty()) {
    dropped = added ? added->content : parts_->vocab->text(id);
    for (std::size_t at; (at = dropped.find(rule.drop)) != std::string::npos;) {
      dropped.erase(at, rule.drop.size());
    }
    bytes = dropped;
  }
  first_ = false;
  for (; strips_left_ > 0 && bytes.starts_with(rule.strip); --strips_left_) {
    bytes.remove_prefix(rule.strip.size());
  }
  if (!bytes.empty()) {
    strips_left_ = 0;
    started_ = true;
  } else if (rule.per_token && !started_) {
    strips_left_ = rule.times;
  }
  pending_ += bytes;
  drain_utf8(pending_, text);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = replace_invalid_utf8(pending_);
  pending_.clear();
  first_ = !options_.continues;
  started_ = !first_;
  strips_left_ = first_ ? parts_->decoder.start_rule().times : 0;
  return text;
}

}  // namespace nibble
