// Damaged templates and JSON give an error or a text, never a crash: run under the sanitizers.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "paths.h"
#include "template/render.h"

namespace nibble {
namespace {

using jinja::Value;

const Value& cases() {
  static const Value document = jinja::parse_json(
      read_text_file(testing::test_file("template/fixtures/cases.json")), "cases.json");
  return document;
}

/// `text` with a few pieces taken out, doubled, moved or changed.
std::string mutate(std::string text, std::mt19937& random) {
  static const std::vector<std::string> kPieces{
      "{%",   "%}",  "{{",     "}}", "-",  "(",    "[",    "|",     "'",    "999999999",
      "not ", " * ", "endfor", "\n", "#}", "loop", " ** ", "range", "\xc3", "["};
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  for (std::size_t i = 1 + below(4); i > 0; --i) {
    const std::size_t at = below(text.size() + 1);
    const std::size_t length = below(12);
    switch (below(4)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, text.substr(below(text.size() + 1), length));
        break;
      case 2:
        text.insert(at, kPieces[below(kPieces.size())]);
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
    }
  }
  return text;
}

TEST(Mutations, OfTemplates) {
  const auto& entries = cases().as_dict().find("cases")->items();
  const jinja::Dict& variables = cases().as_dict().find("variables")->as_dict();
  std::mt19937 random(7);
  for (int i = 0; i < 1500; ++i) {
    const Value& entry = entries[entries.size() - 1 - random() % 110];  // the whole templates
    const std::string text = mutate(entry.as_dict().find("template")->as_text(), random);
    try {
      EXPECT_LT(ChatTemplate(text, "mutation").render(variables).size(), 1u << 20) << text;
    } catch (const Error&) {
    }
  }
}

TEST(Mutations, OfJson) {
  const std::string text = read_text_file(testing::test_file("template/fixtures/cases.json"));
  const std::string part = text.substr(0, 1500);
  std::mt19937 random(8);
  for (int i = 0; i < 300; ++i) {
    try {
      jinja::parse_json(mutate(part, random), "mutation");
    } catch (const Error&) {
    }
  }
}

TEST(Json, KeepsOrderAndNumbers) {
  const Value value = jinja::parse_json(
      R"({"b": 1, "a": [18446744073709551615, 1e3, -0.5, 12345678901234567890123], "b": "é"})",
      "x");
  const jinja::Dict variables = [&] {
    jinja::Dict dict;
    dict.set("v", value);
    return dict;
  }();
  EXPECT_EQ(testing::render("{{ v }}", variables),
            "{'b': 'é', 'a': [18446744073709551615, 1000.0, -0.5, 12345678901234567890123]}");
}

TEST(Json, RefusesWhatIsNone) {
  for (const std::string text : {"{", "[1,]", "nul", "{\"a\" 1}", "\"\xff\"", "1 2", ""}) {
    EXPECT_THROW(jinja::parse_json(text, "file.json"), Error) << text;
  }
  EXPECT_THROW(jinja::parse_json(std::string(1000, '['), "file.json"), Error);
}

}  // namespace
}  // namespace nibble
