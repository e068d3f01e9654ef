// Templates whose renderings and errors transformers gave (fixtures/make_cases.py).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "nibble/core/mapped_file.h"
#include "nibble/runtime/chat_format.h"
#include "paths.h"
#include "template/render.h"

namespace nibble {
namespace {

using jinja::Value;
using testing::render;

const std::string& text_of(const Value& object, const char* key) {
  return object.as_dict().find(key)->as_text();
}

TEST(Cases, AreRenderedAsByTransformers) {
  const std::string file = testing::test_file("template/fixtures/cases.json");
  const Value document = jinja::parse_json(read_text_file(file), file);
  const jinja::Dict& variables = document.as_dict().find("variables")->as_dict();
  const auto& cases = document.as_dict().find("cases")->items();
  ASSERT_GT(cases.size(), 200u);
  for (const Value& entry : cases) {
    const bool fails = entry.as_dict().find("error") != nullptr;
    EXPECT_EQ(render(text_of(entry, "template"), variables),
              text_of(entry, fails ? "error" : "text"))
        << text_of(entry, "template");
  }
}

TEST(PublishedTemplates, AreRenderedAsByTransformers) {
  const char* shared = std::getenv("NIBBLE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "NIBBLE_SHARED names no folder";
  const std::filesystem::path folder = std::filesystem::path(shared) / "data/chat_templates";
  const Value document =
      jinja::parse_json(read_text_file(folder / "renderings.json"), "renderings.json");
  const auto part = [&](const char* key) { return *document.as_dict().find(key); };
  std::size_t count = 0;
  for (const auto& [name, renderings] : part("rendered").as_dict().entries()) {
    const ChatFormat format = ChatFormat::from_file(folder / name.as_text());
    for (const auto& [key, wanted] : renderings.as_dict().entries()) {
      const std::string& what = key.as_text();
      const bool generates = what.ends_with("+gen");
      const auto& conversation =
          part("conversations").as_dict().find(what.substr(0, what.find('+')))->as_dict();
      ChatInput input{.messages = *conversation.find("messages"),
                      .tools = *conversation.find("tools"),
                      .add_generation_prompt = generates,
                      .more = part("special_tokens").as_dict()};
      std::string found;
      try {
        found = format.render(input);
      } catch (const TemplateError& error) {
        found = error.type() + ": " + error.message();
      }
      const bool fails = wanted.as_dict().find("error") != nullptr;
      EXPECT_EQ(found, text_of(wanted, fails ? "error" : "text")) << name.as_text() << " " << what;
      ++count;
    }
  }
  EXPECT_EQ(count, 544u);
}

}  // namespace
}  // namespace nibble
