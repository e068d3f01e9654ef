// nibble template and nibble chat.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "cli/expect_failure.h"
#include "cli/run_command.h"
#include "core/temporary_folder.h"

namespace nibble::testing {
namespace {

using ::testing::HasSubstr;

class Chat : public ::testing::Test {
 protected:
  Chat() {
    model_ = copy_stories(folder_ / "model");
    write_file(model_ / "chat_template.jinja",
               "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
               "{% if add_generation_prompt %}answer:{% endif %}");
    write_file(folder_ / "talk.json", R"([{"role": "user", "content": "Hi é"}])");
  }
  std::string path(const char* name) const { return (folder_ / name).string(); }

  TemporaryFolder folder_;
  std::filesystem::path model_;
};

TEST_F(Chat, TemplateOfAModel) {
  const Outcome plain = nibble({"template", model_.string(), "--messages", path("talk.json")});
  expect_success(plain);
  EXPECT_EQ(plain.out, "<s>user: Hi é\n");
  write_file(folder_ / "more.json",
             R"({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": true,
                 "bos_token": "!"})");
  const Outcome json =
      nibble({"template", model_.string(), "--messages", path("more.json"), "--json"});
  expect_success(json);
  EXPECT_EQ(json.json(), nlohmann::json({{"text", "!user: Hi\nanswer:"}}));
}

TEST_F(Chat, TemplateOfAFile) {
  write_file(folder_ / "t.jinja", "{{ tools is none }} {{ messages | length }}");
  const Outcome outcome = run_command(
      {.args = {"template", "--template", path("t.jinja"), "--messages", "-"}, .input = "[]"});
  expect_success(outcome);
  EXPECT_EQ(outcome.out, "True 0");
}

TEST_F(Chat, TemplatesErrorsAreOneLine) {
  write_file(folder_ / "t.jinja", "\n{{ raise_exception('roles must\nalternate') }}");
  expect_failure(
      nibble({"template", "--template", path("t.jinja"), "--messages", path("talk.json")}), 1,
      {"t.jinja, line 2", "TemplateError: roles must alternate"});
  write_file(folder_ / "t.jinja", "{% if %}");
  expect_failure(
      nibble({"template", "--template", path("t.jinja"), "--messages", path("talk.json")}), 1,
      {"t.jinja, line 1", "TemplateSyntaxError"});
  write_file(folder_ / "bad.json", R"({"tools": []})");
  expect_failure(nibble({"template", model_.string(), "--messages", path("bad.json")}), 1,
                 {"bad.json", "\"messages\""});
  for (const char* messages : {R"({"messages": 5})", R"([{"role": "user"}, 5])"}) {
    write_file(folder_ / "bad.json", messages);
    expect_failure(nibble({"template", model_.string(), "--messages", path("bad.json")}), 1,
                   {"bad.json: messages", "expected"});
  }
  expect_failure(nibble({"template", "--messages", path("talk.json")}), 2, {"MODEL"});
}

TEST_F(Chat, PiecesOfATextAreBoundedBeforeTheyAreMade) {
  for (const char* call : {"split('a')", "rsplit('a')", "split()"}) {
    write_file(folder_ / "t.jinja", "{{ ('a ' * 60000000)." + std::string(call) + " }}");
    const Outcome outcome = run_command(
        {.args = {"template", "--template", path("t.jinja"), "--messages", path("talk.json")},
         .memory = std::uint64_t{1} << 30});
    expect_failure(outcome, 1, {"t.jinja, line 1", "MemoryError"});
  }
}

TEST_F(Chat, LinesFromAPipe) {
  const Outcome outcome =
      run_command({.args = {"chat", model_.string(), "-n", "12", "--json", "--system", "Be brief"},
                   .input = "Tell me\nMore\\\nof it\n/save " + path("saved.json") + "\n"});
  expect_success(outcome);
  const nlohmann::json result = outcome.json();
  ASSERT_EQ(result["messages"].size(), 5u);
  EXPECT_EQ(result["messages"][0]["content"], "Be brief");
  EXPECT_EQ(result["messages"][3]["content"], "More\nof it");
  ASSERT_EQ(result["turns"].size(), 2u);
  EXPECT_EQ(result["turns"][0]["cached_tokens"], 0);
  EXPECT_GT(result["turns"][1]["cached_tokens"], 0);
  const Outcome again = nibble({"template", model_.string(), "--messages", path("saved.json")});
  expect_success(again);
  EXPECT_THAT(again.out, HasSubstr("user: More\nof it\n"));
}

TEST_F(Chat, LinesMayEndInCrLf) {
  const Outcome outcome = run_command(
      {.args = {"chat", model_.string(), "-n", "3", "--json", "-q"},
       .input = "\"\"\"\r\none\r\ntwo\r\n\"\"\"\r\nmore\\\r\nof it\r\n/exit\r\nHi\r\n"});
  expect_success(outcome);
  const nlohmann::json messages = outcome.json()["messages"];
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0]["content"], "one\ntwo\n");
  EXPECT_EQ(messages[2]["content"], "more\nof it");
}

// The sampling flags of `run`; those given win over the model's generation_config.json.
TEST_F(Chat, SamplingFlags) {
  write_file(model_ / "generation_config.json",
             R"({"do_sample": true, "temperature": 1.5, "top_k": 40, "eos_token_id": [1, 2]})");
  const auto answer = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"chat", model_.string(), "--json", "-q", "-n", "12"});
    const Outcome outcome = run_command({.args = flags, .input = "Hi\n"});
    expect_success(outcome);
    return outcome.json()["messages"][1]["content"].get<std::string>();
  };
  const std::string greedy = answer({"--temperature", "0"});
  EXPECT_NE(answer({}), greedy);
  EXPECT_EQ(answer({"--top-k", "1"}), greedy);
  EXPECT_EQ(answer({"--top-p", "1e-9"}), greedy);
  EXPECT_EQ(answer({"--min-p", "1"}), greedy);
  EXPECT_NE(answer({"--temperature", "0", "--repeat-penalty", "50"}), greedy);
  const std::string stop = greedy.substr(4, 3);
  EXPECT_EQ(answer({"--temperature", "0", "--stop", stop}), greedy.substr(0, greedy.find(stop)));
  expect_failure(run_command({.args = {"chat", model_.string(), "--top-p", "7"}, .input = "Hi\n"}),
                 2, {"--top-p"});
}

TEST_F(Chat, CommandsFromAPipe) {
  const Outcome outcome = run_command({.args = {"chat", model_.string(), "-n", "5"},
                                       .input = "/stats\nHi\n/stats\n/reset\n/help\n/exit\nHi\n"});
  expect_success(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("no answer yet"));
  EXPECT_THAT(outcome.out, HasSubstr("turn 1: prompt"));
  EXPECT_THAT(outcome.out, HasSubstr("/save FILE"));
}

TEST_F(Chat, AModelWithoutATemplate) {
  std::filesystem::remove(model_ / "chat_template.jinja");
  expect_failure(run_command({.args = {"chat", model_.string()}, .input = "Hi\n"}), 1,
                 {"no chat template"});
}

TEST_F(Chat, SamplingThatIsOutOfRange) {
  write_file(model_ / "generation_config.json", R"({"do_sample": true, "top_p": 7})");
  expect_failure(run_command({.args = {"chat", model_.string()}, .input = "Hi\n"}), 1,
                 {"generation_config.json", "top-p"});
}

}  // namespace
}  // namespace nibble::testing
