// tokenizer.json of the `tokenizers` library. The vocabulary and the merges, nearly all of the
// file, are taken from the parser's events as they come; the rest becomes a JSON tree.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "nibble/core/json.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"

namespace nibble::tokenizers {
namespace {

constexpr std::size_t kMaxDepth = 200;

class Events : public nlohmann::json_sax<Json> {
 public:
  Events(BpeTables& tables, Json& tree, const std::string& origin)
      : tables_(tables), tree_(tree), origin_(origin) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool flag) override { return value(flag); }
  bool number_float(double number, const std::string&) override { return value(number); }
  bool number_integer(std::int64_t number) override { return integer(number); }
  bool number_unsigned(std::uint64_t number) override {
    return integer(static_cast<std::int64_t>(std::min<std::uint64_t>(number, INT64_MAX)));
  }
  bool binary(binary_t&) override { return false; }  // not in JSON text

  bool string(std::string& text) override {
    if (mode_ != Mode::kMerges) return value(std::move(text));
    if (depth() == kTableDepth) {
      tables_.merges.push_back(parse_merge(text, tables_.merges.size(), origin_));
    } else {
      merge_.push_back(std::move(text));
      if (merge_.size() > 2) wrong_merge();
    }
    return true;
  }

  bool key(std::string& name) override {
    (mode_ == Mode::kVocab ? token_ : names_.back()) = std::move(name);
    return true;
  }

  bool start_object(std::size_t) override { return open(Json::object(), Mode::kVocab, "vocab"); }
  bool start_array(std::size_t) override { return open(Json::array(), Mode::kMerges, "merges"); }
  bool end_object() override { return close(); }

  bool end_array() override {
    if (mode_ == Mode::kMerges && depth() == kTableDepth + 1) {
      if (merge_.size() != 2) wrong_merge();
      tables_.merges.emplace_back(std::move(merge_[0]), std::move(merge_[1]));
      merge_.clear();
    }
    return close();
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    refuse("{}: not valid JSON at byte {}", origin_, position);
  }

  /// Whether there is a list of merges, be it empty.
  bool has_merges() const { return has_merges_; }

 private:
  enum class Mode { kTree, kVocab, kMerges };
  static constexpr std::size_t kTableDepth = 3;  // document, "model", table

  std::size_t depth() const { return names_.size(); }

  [[noreturn]] void wrong_merge() const {
    refuse("{}: model.merges: merge {}: expected two tokens", origin_, tables_.merges.size());
  }

  bool integer(std::int64_t number) {
    if (mode_ != Mode::kVocab) return value(number);
    if (number < 0 || number >= kMaxTokenId) {
      refuse("{}: model.vocab: '{}' has id {}, expected 0..{}", origin_, token_, number,
             kMaxTokenId - 1);
    }
    tables_.vocab.emplace_back(std::move(token_), number);
    return true;
  }

  bool value(Json json) {
    if (mode_ == Mode::kVocab) refuse("{}: model.vocab: '{}': expected an id", origin_, token_);
    if (mode_ == Mode::kMerges) wrong_merge();
    place(std::move(json));
    return true;
  }

  /// Puts a value where it belongs in the tree.
  Json* place(Json json) {
    if (nodes_.empty()) return &(tree_ = std::move(json));
    Json& parent = *nodes_.back();
    if (parent.is_object()) return &(parent[names_.back()] = std::move(json));
    parent.push_back(std::move(json));
    return &parent.back();
  }

  bool open(Json container, Mode table, const char* table_name) {
    if (depth() >= kMaxDepth) refuse("{}: nested deeper than {} levels", origin_, kMaxDepth);
    if (mode_ == Mode::kMerges && table == Mode::kMerges && depth() == kTableDepth) {
      names_.emplace_back();  // a merge as a pair
      return true;
    }
    if (mode_ != Mode::kTree) return value(nullptr);
    if (depth() == 2 && names_[0] == "model" && names_[1] == table_name) {
      mode_ = table;
      has_merges_ |= table == Mode::kMerges;
    } else {
      nodes_.push_back(place(std::move(container)));
    }
    names_.emplace_back();
    return true;
  }

  bool close() {
    names_.pop_back();
    if (mode_ == Mode::kTree) {
      nodes_.pop_back();
    } else if (depth() == kTableDepth - 1) {
      mode_ = Mode::kTree;
    }
    return true;
  }

  BpeTables& tables_;
  Json& tree_;
  const std::string& origin_;
  Mode mode_ = Mode::kTree;
  bool has_merges_ = false;
  std::vector<Json*> nodes_;
  std::vector<std::string> names_;  // for each open container the latest key
  std::string token_;
  std::vector<std::string> merge_;
};

void take_added_tokens(Json& tree, BpeTables& tables, const std::string& origin) {
  const auto found = tree.find("added_tokens");
  if (found == tree.end() || found->is_null()) return;
  if (!found->is_array()) refuse("{}: added_tokens: expected an array", origin);
  for (const Json& json : *found) {
    AddedToken token = parse_added_token(json, origin);
    token.id = static_cast<std::int32_t>(std::clamp<std::int64_t>(
        JsonObject(json, origin).find_int("id").value_or(-1), -1, INT32_MAX));
    tables.added.push_back(std::move(token));
  }
  tree.erase(found);
}

/// Whether the model says, or does not say, that it is BPE: others are refused as such.
bool needs_merges(const Json& tree) {
  const auto model = tree.find("model");
  if (model == tree.end() || !model->is_object()) return false;
  const auto type = model->find("type");
  return type == model->end() || *type == "BPE";
}

}  // namespace

std::unique_ptr<Parts> load_tokenizer_json(const std::filesystem::path& file,
                                           const TokenizerConfig& config) {
  const std::string origin = file.string();
  const MappedFile mapped(file);
  const auto* text = reinterpret_cast<const char*>(mapped.bytes().data());
  BpeTables tables;
  tables.numbered_by_order = true;
  Json tree;
  Events events(tables, tree, origin);
  Json::sax_parse(text, text + mapped.size(), &events);
  if (!tree.is_object()) refuse("{}: expected a JSON object", origin);
  take_added_tokens(tree, tables, origin);
  if (!events.has_merges() && needs_merges(tree)) {
    refuse("{}: model.merges is missing, expected a list", origin);
  }
  return build_bpe(std::move(tree), tables, config, origin);
}

}  // namespace nibble::tokenizers
