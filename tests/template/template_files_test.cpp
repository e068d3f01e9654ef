#include "nibble/template/template_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/temporary_folder.h"
#include "nibble/core/error.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

class TemplateFiles : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_.path() / name).parent_path());
    std::ofstream(folder_.path() / name) << text;
  }
  std::string chosen(bool tools) const {
    return choose_template(find_templates(folder_.path()), tools, "m").text;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(TemplateFiles, OneInTheConfig) {
  write("tokenizer_config.json", R"({"chat_template": "a", "bos_token": "<s>",
                                     "eos_token": {"content": "</s>"}, "pad_token": null})");
  write("special_tokens_map.json", R"({"bos_token": "other", "unk_token": "<unk>"})");
  EXPECT_EQ(chosen(false), "a");
  EXPECT_EQ(chosen(true), "a");
  const jinja::Dict tokens = find_special_tokens(folder_.path());
  EXPECT_EQ(tokens.size(), 3u);
  EXPECT_EQ(tokens.find("bos_token")->as_text(), "<s>");
  EXPECT_EQ(tokens.find("eos_token")->as_text(), "</s>");
  EXPECT_EQ(tokens.find("unk_token")->as_text(), "<unk>");
}

TEST_F(TemplateFiles, NamedOnes) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "a"},
                                                       {"name": "tool_use", "template": "b"}]})");
  EXPECT_EQ(chosen(false), "a");
  EXPECT_EQ(chosen(true), "b");
  write("chat_template.jinja", "c");
  write("additional_chat_templates/tool_use.jinja", "d");
  EXPECT_EQ(chosen(false), "c");
  EXPECT_EQ(chosen(true), "d");
}

TEST_F(TemplateFiles, None) {
  EXPECT_THROW(chosen(false), Error);
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "a"}]})");
  EXPECT_THROW(chosen(false), Error);
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THROW(chosen(false), Error);
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_THROW(chosen(false), Error);
  write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_TRUE(find_templates(folder_.path()).empty());
}

}  // namespace
}  // namespace nibble
