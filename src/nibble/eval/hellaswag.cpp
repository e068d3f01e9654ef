#include "nibble/eval/hellaswag.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "nibble/core/error.h"
#include "nibble/formats/gzip.h"

namespace nibble {
namespace {

constexpr std::size_t kLines = 6;  // of an item

std::vector<std::string> read_lines(const std::filesystem::path& file) {
  const std::string text = read_text_or_gzip(file);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    at = end + 1;
  }
  return lines;
}

}  // namespace

std::vector<HellaSwagItem> load_hellaswag(const std::filesystem::path& file) {
  const std::vector<std::string> lines = read_lines(file);
  if (lines.empty() || lines.size() % kLines != 0) {
    fail("{}: {} lines, expected six for each item", file.string(), lines.size());
  }
  std::vector<HellaSwagItem> items;
  for (std::size_t at = 0; at < lines.size(); at += kLines) {
    const std::string& label = lines[at + 1];
    if (label.size() != 1 || label[0] < '0' || label[0] > '3') {
      fail("{}:{}: the right ending: expected 0, 1, 2 or 3, found \"{}\"", file.string(), at + 2,
           label);
    }
    const auto first = lines.begin() + static_cast<std::ptrdiff_t>(at);
    items.push_back({lines[at], {first + 2, first + 6}, static_cast<std::size_t>(label[0] - '0')});
  }
  return items;
}

std::vector<HellaSwagItem> draw_hellaswag(const std::vector<HellaSwagItem>& items,
                                          std::int64_t count) {
  const std::size_t most =
      count > 0 ? std::min(items.size(), static_cast<std::size_t>(count)) : items.size();
  std::vector<std::size_t> left(items.size());
  std::iota(left.begin(), left.end(), std::size_t{0});
  std::mt19937 random(1);
  std::vector<HellaSwagItem> drawn;
  while (drawn.size() < most) {
    std::uniform_int_distribution<std::size_t> any(0, left.size() - 1);
    const auto at = left.begin() + static_cast<std::ptrdiff_t>(any(random));
    drawn.push_back(items[*at]);
    left.erase(at);
  }
  return drawn;
}

ChoiceQuestion hellaswag_question(const Tokenizer& tokenizer, const HellaSwagItem& item) {
  ChoiceQuestion question{.right = item.right};
  for (const std::string& ending : item.endings) {
    question.texts.push_back(
        {tokenizer.encode(item.context + " " + ending, {.parse_special = false})});
  }
  const std::int64_t first = std::max<std::int64_t>(common_tokens(question.texts), 1);
  for (ChoiceText& text : question.texts) {
    text.first = first;
    text.end = std::ssize(text.tokens);
  }
  return question;
}

}  // namespace nibble
