// Llama 3's tokenizer.model: tiktoken's ranks, a line "base64(bytes) rank" for each token.
#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"
#include "nibble/tokenizer/steps/word_patterns.h"
#include "nibble/tokenizer/text/byte_level.h"

namespace nibble::tokenizers {
namespace {

constexpr std::size_t kMaxTokenBytes = 1024;  // every split of a token is tried
constexpr std::int64_t kLlama3Ranks = 128'000;
constexpr std::int32_t kLlama3Special = 256;

std::string decode_base64(std::string_view text, std::size_t line, const std::string& origin) {
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) refuse("{}: line {}: not base64", origin, line);
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFFFF;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count & 0xFF));
  }
  if (bytes.empty() || bytes.size() > kMaxTokenBytes) {
    refuse("{}: line {}: a token of {} bytes, expected 1..{}", origin, line, bytes.size(),
           kMaxTokenBytes);
  }
  return bytes;
}

/// Token and rank of each line.
std::vector<std::pair<std::string, std::int64_t>> read_ranks(std::string_view text,
                                                             const std::string& origin) {
  std::vector<std::pair<std::string, std::int64_t>> ranks;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view entry = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (entry.ends_with('\r')) entry.remove_suffix(1);
    if (entry.empty()) continue;
    const std::size_t blank = std::min(entry.find(' '), entry.size());
    std::int64_t rank = -1;
    std::from_chars(entry.data() + std::min(blank + 1, entry.size()), entry.data() + entry.size(),
                    rank);
    if (rank < 0 || rank >= kMaxTokenId) {
      refuse("{}: line {}: expected a token in base64 and a rank", origin, line);
    }
    ranks.emplace_back(decode_base64(entry.substr(0, blank), line, origin), rank);
  }
  return ranks;
}

// Tiktoken merges the two neighbours whose joined bytes have the lowest rank: that is a merge with
// that rank for every split of a token into two tokens.
BpeTables make_tables(std::vector<std::pair<std::string, std::int64_t>> ranks) {
  std::sort(ranks.begin(), ranks.end(), [](auto& a, auto& b) { return a.second < b.second; });
  StringTable table;
  for (const auto& [token, rank] : ranks) table.add(static_cast<std::int32_t>(rank), token);
  BpeTables tables;
  for (const auto& [token, rank] : ranks) {
    tables.vocab.emplace_back(to_byte_alphabet(token), rank);
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      const std::string_view left = std::string_view(token).substr(0, cut);
      const std::string_view right = std::string_view(token).substr(cut);
      if (table.find(left) < 0 || table.find(right) < 0) continue;
      tables.merges.emplace_back(to_byte_alphabet(left), to_byte_alphabet(right));
    }
  }
  return tables;
}

/// Llama 3.1's special tokens, which tiktoken's file leaves to the program.
void add_llama3_tokens(BpeTables& tables) {
  constexpr std::array<std::string_view, 11> kNames{"<|begin_of_text|>",
                                                    "<|end_of_text|>",
                                                    "<|reserved_special_token_0|>",
                                                    "<|reserved_special_token_1|>",
                                                    "<|finetune_right_pad_id|>",
                                                    "<|reserved_special_token_2|>",
                                                    "<|start_header_id|>",
                                                    "<|end_header_id|>",
                                                    "<|eom_id|>",
                                                    "<|eot_id|>",
                                                    "<|python_tag|>"};
  for (std::int32_t i = 0; i < kLlama3Special; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const std::string name = index < kNames.size()
                                 ? std::string(kNames[index])
                                 : fmt::format("<|reserved_special_token_{}|>", i - 8);
    tables.added.push_back(
        {.id = static_cast<std::int32_t>(kLlama3Ranks) + i, .content = name, .special = true});
  }
}

}  // namespace

std::unique_ptr<Parts> load_tiktoken(std::string_view text, const TokenizerConfig& config,
                                     const std::string& origin) {
  BpeTables tables = make_tables(read_ranks(text, origin));
  TokenizerConfig full = config;
  const bool llama3 = static_cast<std::int64_t>(tables.vocab.size()) == kLlama3Ranks;
  if (!llama3) {
    refuse("{}: {} tiktoken ranks, expected the {} of Llama 3", origin, tables.vocab.size(),
           kLlama3Ranks);
  }
  if (config.added.empty()) add_llama3_tokens(tables);
  if (!full.bos) full.bos = "<|begin_of_text|>";
  if (!full.eos) full.eos = "<|end_of_text|>";
  nlohmann::json description{
      {"version", "1.0"},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level_split({kLlama3Pattern})},
      {"decoder", gpt2_pre_tokenizer(false)},
      {"model", {{"type", "BPE"}, {"ignore_merges", true}}},
      {"post_processor", make_template(std::pair(std::string("<|begin_of_text|>"),
                                                 static_cast<std::int32_t>(kLlama3Ranks)),
                                       std::nullopt)}};
  return build_bpe(std::move(description), tables, full, origin);
}

}  // namespace nibble::tokenizers
