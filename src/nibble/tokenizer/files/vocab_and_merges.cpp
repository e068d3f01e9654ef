// vocab.json + merges.txt: the files of GPT-2, OPT and Qwen2 before tokenizer.json. They hold the
// tables only; how text is cut is known by the tokenizer's class.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "nibble/core/json.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"
#include "nibble/tokenizer/steps/word_patterns.h"

namespace nibble::tokenizers {

Json gpt2_pre_tokenizer(bool add_prefix_space) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", true}};
}

Json byte_level_split(const std::vector<std::string>& patterns) {
  Json steps = Json::array();
  for (const std::string& pattern : patterns) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

namespace {

/// Takes {"token": id, ...} from the parser's events; a tree of 150,000 entries would cost more
/// than all the rest of loading.
class VocabEvents : public nlohmann::json_sax<Json> {
 public:
  VocabEvents(BpeTables& tables, const std::string& origin) : tables_(tables), origin_(origin) {}

  bool key(std::string& name) override {
    token_ = std::move(name);
    return true;
  }
  bool number_unsigned(std::uint64_t id) override {
    if (depth_ != 1 || id >= static_cast<std::uint64_t>(kMaxTokenId)) wrong();
    tables_.vocab.emplace_back(std::move(token_), static_cast<std::int64_t>(id));
    return true;
  }
  bool start_object(std::size_t) override {
    if (++depth_ > 1) wrong();
    return true;
  }
  bool end_object() override { return true; }

  bool null() override { wrong(); }
  bool boolean(bool) override { wrong(); }
  bool number_integer(std::int64_t) override { wrong(); }
  bool number_float(double, const std::string&) override { wrong(); }
  bool string(std::string&) override { wrong(); }
  bool binary(binary_t&) override { wrong(); }
  bool start_array(std::size_t) override { wrong(); }
  bool end_array() override { wrong(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    refuse("{}: not valid JSON at byte {}", origin_, position);
  }

 private:
  [[noreturn]] void wrong() const {
    refuse("{}: '{}': expected an object of tokens with ids of 0..{}", origin_, token_,
           kMaxTokenId - 1);
  }
  BpeTables& tables_;
  const std::string& origin_;
  std::string token_;
  int depth_ = 0;
};

void read_vocab(const std::filesystem::path& file, BpeTables& tables) {
  const std::string origin = file.string();
  const MappedFile mapped(file);
  const auto* text = reinterpret_cast<const char*>(mapped.bytes().data());
  VocabEvents events(tables, origin);
  Json::sax_parse(text, text + mapped.size(), &events);
}

void read_merges(const std::filesystem::path& file, BpeTables& tables) {
  const std::string text = read_text_file(file);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    tables.merges.push_back(parse_merge(line, tables.merges.size(), file.string()));
  }
}

bool has(const BpeTables& tables, std::string_view token) {
  return std::any_of(tables.vocab.begin(), tables.vocab.end(),
                     [&](const auto& entry) { return entry.first == token; });
}

/// OPT's four tokens come first, and no other decoder has them so.
bool is_opt_vocab(const BpeTables& tables) {
  constexpr std::array<std::string_view, 4> kFirst{"<s>", "<pad>", "</s>", "<unk>"};
  const auto found = std::count_if(tables.vocab.begin(), tables.vocab.end(), [&](auto& entry) {
    return entry.second < 4 && kFirst[static_cast<std::size_t>(entry.second)] == entry.first;
  });
  return found == 4;
}

/// What the class (in transformers) assumes where tokenizer_config.json does not say it.
TokenizerConfig with_defaults(TokenizerConfig config, const BpeTables& tables) {
  const bool bare = config.tokenizer_class.empty();
  const bool opt =
      config.model_type == "opt" || (bare && config.model_type.empty() && is_opt_vocab(tables));
  if (opt) {
    if (!config.bos) config.bos = "</s>";
    if (!config.eos) config.eos = "</s>";
    if (!config.pad) config.pad = "<pad>";
    if (!config.add_bos) config.add_bos = true;
  }
  if (bare)
    config.tokenizer_class = config.model_type == "qwen2" || config.model_type == "qwen3"
                                 ? "Qwen2Tokenizer"
                                 : "GPT2Tokenizer";
  const std::string end = "<|endoftext|>";
  const bool qwen = config.tokenizer_class == "Qwen2Tokenizer";
  if (!config.eos && has(tables, end)) config.eos = end;
  if (!config.bos && !qwen && has(tables, end)) config.bos = end;
  return config;
}

std::int32_t id_of(const BpeTables& tables, const TokenizerConfig& config, const std::string& token,
                   const std::string& origin) {
  for (const auto& [text, id] : tables.vocab) {
    if (text == token) return static_cast<std::int32_t>(id);
  }
  for (const AddedToken& added : config.added) {
    if (added.content == token) return added.id;
  }
  refuse("{}: the token '{}' is to be added to every text, but has no id", origin, token);
}

Json describe(const BpeTables& tables, const TokenizerConfig& config, const std::string& origin) {
  Json json{{"version", "1.0"}, {"model", {{"type", "BPE"}}}, {"normalizer", nullptr}};
  const bool prefix_space = config.add_prefix_space.value_or(false);
  json["decoder"] = gpt2_pre_tokenizer(prefix_space);
  if (config.tokenizer_class == "Qwen2Tokenizer") {
    json["normalizer"] = {{"type", "NFC"}};
    json["pre_tokenizer"] = byte_level_split({kQwen2Pattern});
  } else if (config.tokenizer_class == "GPT2Tokenizer" ||
             config.tokenizer_class == "CodeGenTokenizer" ||
             config.tokenizer_class == "GPTNeoXTokenizer") {
    json["pre_tokenizer"] = gpt2_pre_tokenizer(prefix_space);
  } else {
    refuse(
        "{}: tokenizer_class '{}' with vocab.json is not supported, expected GPT2Tokenizer, "
        "Qwen2Tokenizer, CodeGenTokenizer or GPTNeoXTokenizer",
        origin, config.tokenizer_class);
  }
  const auto around = [&](std::optional<bool> add, const std::optional<std::string>& token) {
    std::optional<std::pair<std::string, std::int32_t>> found;
    if (add.value_or(false) && token) {
      found.emplace(*token, id_of(tables, config, *token, origin));
    }
    return found;
  };
  json["post_processor"] =
      make_template(around(config.add_bos, config.bos), around(config.add_eos, config.eos));
  return json;
}

}  // namespace

std::unique_ptr<Parts> load_vocab_and_merges(const std::filesystem::path& folder,
                                             const TokenizerConfig& config) {
  const std::string origin = (folder / "vocab.json").string();
  BpeTables tables;
  read_vocab(folder / "vocab.json", tables);
  read_merges(folder / "merges.txt", tables);
  const TokenizerConfig full = with_defaults(config, tables);
  Json description = describe(tables, full, origin);
  return build_bpe(std::move(description), tables, full, origin);
}

}  // namespace nibble::tokenizers
