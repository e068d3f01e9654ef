// What the files beside the vocabulary declare, joined to it.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "nibble/core/log.h"
#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"

namespace nibble::tokenizers {
namespace {

bool has_token(const std::vector<AddedToken>& tokens, const AddedToken& wanted) {
  return std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& token) {
    return token.id == wanted.id || token.content == wanted.content;
  });
}

/// The text or id of an added token must not be another token's.
void check_ids(const std::vector<AddedToken>& tokens, const StringTable& vocab,
               const std::string& origin) {
  std::set<std::int32_t> seen;
  for (const AddedToken& token : tokens) {
    const std::int32_t in_vocab = vocab.find(token.content);
    if (in_vocab >= 0 && in_vocab != token.id) {
      refuse("{}: added token '{}' has id {}, but {} in the vocabulary", origin, token.content,
             token.id, in_vocab);
    }
    if (in_vocab < 0 && vocab.has(token.id)) {
      refuse("{}: added token '{}' has id {}, which is '{}' in the vocabulary", origin,
             token.content, token.id, vocab.text(token.id));
    }
    if (!seen.insert(token.id).second) {
      refuse("{}: two added tokens have id {}", origin, token.id);
    }
  }
}

/// Those of `config` that have a role too, which not every loader lists.
std::vector<AddedToken> special_tokens(const TokenizerConfig& config) {
  std::vector<AddedToken> tokens = config.special;
  for (const auto& name : {config.bos, config.eos, config.unk, config.pad}) {
    if (name && !name->empty()) tokens.push_back({.content = *name, .special = true});
  }
  return tokens;
}

/// The id behind all others.
std::int32_t next_id(const std::vector<AddedToken>& tokens, const StringTable& vocab) {
  std::int32_t next = vocab.size();
  for (const AddedToken& token : tokens) next = std::max(next, token.id + 1);
  return next;
}

void remark_unknown(const std::vector<AddedToken>& tokens, const std::string& origin) {
  if (tokens.empty()) return;
  const std::string first = printable(tokens.front().content);
  if (tokens.size() == 1) {
    warn("{}: special token '{}' is in no vocabulary: it gets id {}, as in transformers", origin,
         first, tokens.front().id);
  } else {
    warn(
        "{}: special tokens '{}' and {} more are in no vocabulary: they get the ids from {} on, as "
        "in transformers",
        origin, first, tokens.size() - 1, tokens.front().id);
  }
}

/// The ids of added tokens in the order in which they are met.
class Numbering {
 public:
  Numbering(const StringTable& vocab, std::size_t vocab_tokens)
      : vocab_(vocab), next_(static_cast<std::int32_t>(vocab_tokens)) {}  // be there holes or not

  /// Sets the token's id. False where there is a token of this text already.
  bool number(AddedToken& token) {
    const std::int32_t said = token.id;
    const std::int32_t in_vocab = vocab_.find(token.content);
    const auto [place, is_new] = ids_.emplace(token.content, 0);
    if (is_new) place->second = in_vocab >= 0 ? in_vocab : next_;
    token.id = place->second;
    next_ = std::max(next_, token.id + 1);
    if (said != token.id && others_++ == 0) {
      first_ = fmt::format("'{}' has id {}, not {}", printable(token.content), token.id, said);
    }
    return is_new;
  }

  void remark(const std::string& origin) const {
    if (others_ == 0) return;
    warn("{}: added tokens are numbered in their order, as the tokenizers library does: {}{}",
         origin, first_, others_ == 1 ? "" : fmt::format(", and {} more", others_ - 1));
  }

 private:
  const StringTable& vocab_;
  std::int32_t next_;
  std::map<std::string, std::int32_t> ids_;
  int others_ = 0;
  std::string first_;
};

}  // namespace

void number_added(std::vector<AddedToken>& tokens, TokenizerConfig& config,
                  const StringTable& vocab, std::size_t vocab_tokens, const std::string& origin) {
  Numbering numbering(vocab, vocab_tokens);
  std::vector<AddedToken> kept;
  for (AddedToken& token : tokens) {
    if (!token.content.empty() && numbering.number(token)) kept.push_back(std::move(token));
  }
  tokens = std::move(kept);
  std::sort(config.added.begin(), config.added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (AddedToken& token : config.added) {
    if (!token.content.empty()) numbering.number(token);
  }
  numbering.remark(origin);
}

void declare_tokens(std::vector<AddedToken>& tokens, const StringTable& vocab,
                    const TokenizerConfig& config, const std::string& origin) {
  for (const AddedToken& token : config.added) {
    if (!has_token(tokens, token)) tokens.push_back(token);
  }
  std::vector<AddedToken> unknown;
  for (AddedToken& special : special_tokens(config)) {
    const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const AddedToken& token) {
      return token.content == special.content;
    });
    if (found != tokens.end()) {
      found->special = true;
      continue;
    }
    special.id = vocab.find(special.content);
    if (special.id < 0) {
      special.id = next_id(tokens, vocab);
      unknown.push_back(special);
    }
    tokens.push_back(std::move(special));
  }
  remark_unknown(unknown, origin);
  check_ids(tokens, vocab, origin);
}

void declare_ids(Parts& parts, const TokenizerConfig& config) {
  const auto id = [&](const std::optional<std::string>& name) -> std::optional<std::int32_t> {
    if (!name) return std::nullopt;
    if (const AddedToken* token = parts.added.find(*name)) return token->id;
    return std::nullopt;  // declare_tokens() has made every name that has an id a token
  };
  parts.declared.bos = id(config.bos);
  parts.declared.eos = id(config.eos);
  parts.declared.unk = id(config.unk);
  parts.declared.pad = id(config.pad);
  parts.declared.chat_template = config.chat_template;
}

nlohmann::json make_template(const std::optional<std::pair<std::string, std::int32_t>>& first,
                             const std::optional<std::pair<std::string, std::int32_t>>& last) {
  using Json = nlohmann::json;
  const auto special = [](const std::string& name, int type) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  Json single = Json::array();
  Json pair = Json::array();
  for (const int type : {0, 1}) {
    Json part = Json::array();
    if (first) part.push_back(special(first->first, type));
    part.push_back({{"Sequence", {{"id", type == 0 ? "A" : "B"}, {"type_id", type}}}});
    if (last) part.push_back(special(last->first, type));
    if (type == 0) single = part;
    pair.insert(pair.end(), part.begin(), part.end());
  }
  Json tokens = Json::object();
  for (const auto& token : {first, last}) {
    if (!token) continue;
    tokens[token->first] = {{"id", token->first},
                            {"ids", Json::array({token->second})},
                            {"tokens", Json::array({token->first})}};
  }
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

}  // namespace nibble::tokenizers
