// A tokenizer from the objects of a tokenizer.json, whatever file they came from.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "nibble/core/json.h"
#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/files/loaders.h"
#include "nibble/tokenizer/text/blank_mark.h"
#include "nibble/tokenizer/text/byte_level.h"

namespace nibble::tokenizers {
namespace {

using IdText = std::optional<std::pair<std::string, std::int32_t>>;

std::shared_ptr<const StringTable> make_vocab(const BpeTables& tables, const std::string& origin) {
  auto vocab = std::make_shared<StringTable>();
  std::size_t bytes = 0;
  for (const auto& [token, id] : tables.vocab) bytes += token.size();
  vocab->reserve(tables.vocab.size(), bytes);
  for (const auto& [token, id] : tables.vocab) {
    const auto id32 = static_cast<std::int32_t>(id);
    if (vocab->has(id32)) {
      refuse("{}: model.vocab: id {} is given to '{}' and to '{}'", origin, id, vocab->text(id32),
             token);
    }
    if (!is_valid_utf8(token)) refuse("{}: token {} is not UTF-8", origin, id);
    vocab->add(id32, token);
  }
  return vocab;
}

std::shared_ptr<const MergeTable> make_merges(const BpeTables& tables, const StringTable& vocab,
                                              const std::string& origin) {
  auto merges = std::make_shared<MergeTable>();
  merges->reserve(tables.merges.size());
  std::string joined;
  for (std::size_t rank = 0; rank < tables.merges.size(); ++rank) {
    const auto& [left, right] = tables.merges[rank];
    joined.assign(left).append(right);
    const auto id = [&](const std::string& token) {
      const std::int32_t found = vocab.find(token);
      if (found < 0) {
        refuse("{}: merge {} ('{}' '{}'): '{}' is not in the vocabulary", origin, rank, left, right,
               token);
      }
      return found;
    };
    const std::int32_t left_id = id(left);
    merges->add({left_id, id(right), static_cast<std::uint32_t>(rank), id(joined)});
  }
  return merges;
}

/// The tokens of the single bytes in GPT-2's alphabet, if all are there.
std::optional<ByteIds> alphabet_ids(const StringTable& vocab) {
  ByteIds ids;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    ids[byte] = vocab.find(to_byte_alphabet(std::string(1, static_cast<char>(byte))));
    if (ids[byte] < 0) return std::nullopt;
  }
  return ids;
}

/// The tokens "<0x00>" to "<0xFF>"; -1 for those that are not there.
ByteIds fallback_ids(const StringTable& vocab) {
  ByteIds ids;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    ids[byte] = vocab.find(fmt::format("<0x{:02X}>", byte));
  }
  return ids;
}

/// All tokens by the bytes they stand for.
StringTable raw_words(const StringTable& vocab) {
  StringTable words;
  words.reserve(static_cast<std::size_t>(vocab.size()), 0);
  for (std::int32_t id = 0; id < vocab.size(); ++id) {
    const auto bytes = from_byte_alphabet(vocab.text(id));
    if (bytes && !bytes->empty()) words.add(id, *bytes);
  }
  return words;
}

void refuse_options(const JsonObject& model) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const std::string text = model.find_string(key).value_or("");
    if (!text.empty()) refuse("{}: model.{} '{}' is not supported", model.origin(), key, text);
  }
  const double dropout = model.find_number("dropout").value_or(0);
  if (dropout != 0) refuse("{}: model.dropout {} is not supported", model.origin(), dropout);
  const std::string type = model.find_string("type").value_or("BPE");
  if (type != "BPE") {
    refuse("{}: model.type '{}' is not supported, expected BPE", model.origin(), type);
  }
}

/// Whether no merge makes a token that has a "▁" behind another character.
bool separable(const MergeTable& merges, const StringTable& vocab) {
  if (vocab.find(kBlankMark) < 0) return false;  // a run of unknowns could cross a cut
  const auto sorted = merges.sorted();
  return std::none_of(sorted.begin(), sorted.end(),
                      [&](auto& merge) { return has_inner_boundary(vocab.text(merge.result)); });
}

void build_model(Parts& parts, const JsonObject& model, bool reads_bytes) {
  const auto& merges = parts.json->merges;
  const bool ignore_merges = model.get_bool("ignore_merges", false);
  if (reads_bytes) {
    std::optional<StringTable> words;
    if (ignore_merges) words = raw_words(*parts.vocab);
    parts.model = std::make_unique<ByteBpe>(*alphabet_ids(*parts.vocab), merges, std::move(words));
    return;
  }
  CharBpeOptions options;
  options.ignore_merges = ignore_merges;
  options.fuse_unk = model.get_bool("fuse_unk", false);
  if (model.get_bool("byte_fallback", false)) options.byte_tokens = fallback_ids(*parts.vocab);
  if (const auto unk = model.find_string("unk_token")) {
    options.unk = parts.vocab->find(*unk);
    if (options.unk < 0) {
      refuse("{}: model.unk_token '{}' is not in the vocabulary", parts.origin, *unk);
    }
  }
  parts.model = std::make_unique<CharBpe>(parts.vocab, merges, options);
  if (!ignore_merges && separable(*merges, *parts.vocab)) parts.pre_tokenizer.add_boundary_cuts();
}

/// Appends the ids of one piece of a template to the prefix or, behind the text, to the suffix.
void apply_template_piece(Parts& parts, const JsonObject& piece, const JsonObject& tokens,
                          bool& behind, std::vector<std::int32_t>& before,
                          std::vector<std::int32_t>& after) {
  if (piece.has("Sequence")) {
    behind = true;
    return;
  }
  const std::string name = piece.get_object("SpecialToken").get_string("id");
  const auto ids = tokens.get_object(name).json().find("ids");
  if (ids == tokens.get_object(name).json().end() || !ids->is_array()) {
    refuse("{}: post_processor: token '{}': expected ids", parts.origin, name);
  }
  for (const Json& id : *ids) {
    if (!id.is_number_integer() || id < 0 || id >= kMaxTokenId) {
      refuse("{}: post_processor: token '{}': expected ids of 0..{}", parts.origin, name,
             kMaxTokenId - 1);
    }
    (behind ? after : before).push_back(id.get<std::int32_t>());
  }
}

void apply_template(Parts& parts, const JsonObject& processor) {
  const auto single = processor.json().find("single");
  if (single == processor.json().end() || !single->is_array()) {
    refuse("{}: post_processor: single: expected an array", parts.origin);
  }
  const Json none = Json::object();
  const JsonObject tokens =
      processor.find_object("special_tokens").value_or(JsonObject(none, parts.origin));
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;
  bool behind = false;
  for (const Json& piece : *single) {
    apply_template_piece(parts, JsonObject(piece, parts.origin), tokens, behind, before, after);
  }
  if (!behind) refuse("{}: post_processor: a template without a Sequence", parts.origin);
  parts.prefix.insert(parts.prefix.begin(), before.begin(), before.end());
  parts.suffix.insert(parts.suffix.end(), after.begin(), after.end());
}

/// "cls" and "sep" of BERT and RoBERTa: [token, id].
std::int32_t pair_id(const JsonObject& processor, const char* key) {
  const auto found = processor.json().find(key);
  const bool good = found != processor.json().end() && found->is_array() && found->size() == 2 &&
                    (*found)[1].is_number_integer() && (*found)[1] >= 0 &&
                    (*found)[1] < kMaxTokenId;
  if (!good) refuse("{}: post_processor: {}: expected [token, id]", processor.origin(), key);
  return (*found)[1].get<std::int32_t>();
}

void apply_post_processor(Parts& parts, const Json& json) {
  const JsonObject processor(json, parts.origin);
  const std::string type = processor.get_string("type");
  if (type == "Sequence") {
    const auto steps = json.find("processors");
    if (steps == json.end() || !steps->is_array()) {
      refuse("{}: processors: expected an array", parts.origin);
    }
    for (const Json& step : *steps) apply_post_processor(parts, step);
  } else if (type == "TemplateProcessing") {
    apply_template(parts, processor);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    parts.prefix.insert(parts.prefix.begin(), pair_id(processor, "cls"));
    parts.suffix.push_back(pair_id(processor, "sep"));
  } else if (type != "ByteLevel") {  // that one is about offsets only
    refuse("{}: post_processor '{}' is not supported", parts.origin, type);
  }
}

void fill_decoder(Parts& parts) {
  for (std::int32_t id = 0; id < parts.vocab->size(); ++id) {
    if (parts.vocab->has(id)) parts.decoder.add(id, parts.vocab->text(id));
  }
  for (const AddedToken& token : parts.added.tokens()) {
    if (!parts.vocab->has(token.id)) parts.decoder.add_raw(token.id, token.content);
  }
}

/// The value of a key of the description, null where it is absent.
const Json& part_of(const Json& description, const char* key) {
  static const Json null;
  const auto found = description.find(key);
  return found == description.end() ? null : *found;
}

}  // namespace

std::pair<std::string, std::string> parse_merge(std::string_view line, std::size_t index,
                                                const std::string& origin) {
  const std::size_t blank = line.find(' ');
  const bool good = blank != std::string_view::npos && blank > 0 && blank + 1 < line.size() &&
                    line.find(' ', blank + 1) == std::string_view::npos;
  if (!good) {
    refuse("{}: merge {} ('{}'): expected two tokens and one blank", origin, index, line);
  }
  return {std::string(line.substr(0, blank)), std::string(line.substr(blank + 1))};
}

std::unique_ptr<Parts> build_bpe(Json description, const BpeTables& tables,
                                 const TokenizerConfig& config, const std::string& origin) {
  auto parts = std::make_unique<Parts>();
  parts->origin = origin;
  const JsonObject model = JsonObject(description, origin).get_object("model");
  refuse_options(model);
  if (tables.vocab.empty()) refuse("{}: model.vocab: missing or empty", origin);
  parts->vocab = make_vocab(tables, origin);
  parts->json.emplace();
  parts->json->merges = make_merges(tables, *parts->vocab, origin);
  const Json& normalizer = part_of(description, "normalizer");
  if (!normalizer.is_null()) parts->normalizer = make_normalizer(normalizer, origin);
  const Json& pre_tokenizer = part_of(description, "pre_tokenizer");
  const bool reads_bytes = ends_in_byte_level(pre_tokenizer) && alphabet_ids(*parts->vocab) &&
                           !model.get_bool("byte_fallback", false);
  if (!pre_tokenizer.is_null()) {
    parts->pre_tokenizer = PreTokenizer(pre_tokenizer, reads_bytes, origin);
  }
  build_model(*parts, model, reads_bytes);
  std::vector<AddedToken> added = tables.added;
  TokenizerConfig declared = config;
  if (tables.numbered_by_order) {
    number_added(added, declared, *parts->vocab, tables.vocab.size(), origin);
  }
  declare_tokens(added, *parts->vocab, declared, origin);
  parts->added = AddedTokens(std::move(added), parts->normalizer.get(), origin);
  const Json& processor = part_of(description, "post_processor");
  if (!processor.is_null()) apply_post_processor(*parts, processor);
  parts->decoder = TokenDecoder(part_of(description, "decoder"), origin);
  fill_decoder(*parts);
  declare_ids(*parts, config);
  parts->json->description = std::move(description);
  return parts;
}

}  // namespace nibble::tokenizers
