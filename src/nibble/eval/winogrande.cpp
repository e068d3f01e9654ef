#include "nibble/eval/winogrande.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/csv.h"
#include "nibble/formats/gzip.h"

namespace nibble {
namespace {

constexpr EncodeOptions kPlain{.parse_special = false};
constexpr std::int64_t kLittle = 3;  // tokens

WinoGrandeItem parse_item(const CsvRecord& record, const std::string& origin) {
  const std::vector<std::string>& fields = record.fields;
  if (fields.size() != 5) {
    fail("{}:{}: expected 5 columns (number, sentence, word, word, 1 or 2), found {}", origin,
         record.line, fields.size());
  }
  const std::size_t gap = fields[1].find('_');
  if (gap == std::string::npos) fail("{}:{}: the sentence has no _", origin, record.line);
  if (fields[4] != "1" && fields[4] != "2") {
    fail("{}:{}: the right word: expected 1 or 2, found \"{}\"", origin, record.line, fields[4]);
  }
  return {fields[1].substr(0, gap),
          fields[1].substr(gap + 1),
          {fields[2], fields[3]},
          fields[4] == "1" ? std::size_t{0} : std::size_t{1}};
}

}  // namespace

std::vector<WinoGrandeItem> load_winogrande(const std::filesystem::path& file) {
  const std::string origin = file.string();
  std::vector<WinoGrandeItem> items;
  for (const CsvRecord& record : parse_csv(read_text_or_gzip(file), origin)) {
    items.push_back(parse_item(record, origin));
  }
  if (items.empty()) fail("{}: no questions", origin);
  return items;
}

std::vector<WinoGrandeItem> draw_winogrande(std::vector<WinoGrandeItem> items, std::int64_t count) {
  if (count <= 0 || count >= std::ssize(items)) return items;
  std::vector<std::size_t> left(items.size());
  std::iota(left.begin(), left.end(), std::size_t{0});
  std::mt19937 random(1);
  const float scale = 1.0f / (1.0f + static_cast<float>(std::mt19937::max()));
  std::vector<WinoGrandeItem> drawn;
  while (std::ssize(drawn) < count) {
    const float at = scale * static_cast<float>(random()) * static_cast<float>(left.size());
    const std::size_t chosen = std::min(static_cast<std::size_t>(at), left.size() - 1);
    drawn.push_back(std::move(items[left[chosen]]));
    left[chosen] = left.back();
    left.pop_back();
  }
  return drawn;
}

ChoiceQuestion winogrande_question(const Tokenizer& tokenizer, const WinoGrandeItem& item) {
  ChoiceQuestion question{.right = item.right};
  for (const std::string& word : item.words) {
    question.texts.push_back({tokenizer.encode(item.before + word + item.after, kPlain)});
  }
  const std::int64_t common = common_tokens(question.texts);
  const bool much_follows = std::all_of(
      question.texts.begin(), question.texts.end(),
      [&](const ChoiceText& text) { return std::ssize(text.tokens) - common > kLittle; });
  for (std::size_t i = 0; i < question.texts.size(); ++i) {
    ChoiceText& text = question.texts[i];
    const std::int64_t size = std::ssize(text.tokens);
    const auto behind_word = [&] {
      return std::ssize(tokenizer.encode(item.before + item.words[i], kPlain));
    };
    text.first = std::max<std::int64_t>(
        1, std::min<std::int64_t>(much_follows ? behind_word() : common, size - 1));
    text.end = size - text.first > 1 ? size - 1 : size;
  }
  return question;
}

}  // namespace nibble
