// Conversations with the small model in data/, whose folder is given a chat template.
#include "nibble/runtime/conversation.h"

#include <filesystem>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/interrupt.h"
#include "nibble/formats/gguf_writer.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m.role | upper }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}";

class Conversations : public ::testing::Test {
 protected:
  Conversations() {
    std::filesystem::copy(testing::data_file("stories260K"), folder_.path());
    testing::write_file(folder_ / "chat_template.jinja", kTemplate);
  }

  Conversation start(std::int64_t context = 0, const std::string& system = "") {
    return Conversation(model_, tokenizer_, format(),
                        {.system = system, .context = context, .generate = {.max_tokens = 20}});
  }
  const ChatFormat& format() {
    if (!format_) format_ = ChatFormat::load(folder_.path());
    return *format_;
  }
  static constexpr auto ignore = [](std::string_view) {};

  testing::TemporaryFolder folder_;
  std::optional<ChatFormat> format_;
  ThreadPool pool_{2};
  Model model_{testing::data_file("stories260K"), pool_};
  Tokenizer tokenizer_ = model_.checkpoint().load_tokenizer();
};

TEST_F(Conversations, FormatHasTheTokenizersSpecialTokens) {
  const std::string text =
      format().render({.messages = jinja::Value::list({make_message("user", "Hi")}),
                       .add_generation_prompt = true});
  EXPECT_EQ(text, "<s>USER: Hi\nASSISTANT:");
}

TEST_F(Conversations, TheSecondTurnComputesOnlyWhatIsNew) {
  Conversation conversation = start();
  std::string streamed;
  const ChatTurn first =
      conversation.answer("Tell me a story", [&](std::string_view text) { streamed += text; });
  EXPECT_EQ(first.cached_tokens, 0);
  EXPECT_EQ(streamed, first.generation.text);
  const ChatTurn second = conversation.answer("And then", ignore);
  EXPECT_GE(second.cached_tokens, first.prompt_tokens);
  EXPECT_GT(second.prompt_tokens, second.cached_tokens);
  ASSERT_EQ(conversation.messages().size(), 4u);
  EXPECT_EQ(conversation.messages()[1].content, first.generation.text);
}

TEST_F(Conversations, TheCacheChangesNoAnswer) {
  Conversation kept = start();
  kept.answer("Tell me a story", ignore);
  const ChatTurn turn = kept.answer("And then", ignore);
  const std::vector<ChatMessage>& messages = kept.messages();
  // The whole prompt in one go, in an empty cache.
  std::vector<jinja::Value> values;
  for (std::size_t i = 0; i < 3; ++i) {
    values.push_back(make_message(messages[i].role, messages[i].content));
  }
  const std::vector<std::int32_t> prompt =
      tokenizer_.encode(format().render({.messages = jinja::Value::list(std::move(values)),
                                         .add_generation_prompt = true}),
                        {.add_special = false});
  KvCache cache = model_.make_cache();
  Sequence sequence(tokenizer_, model_.spec(), prompt, cache.capacity(), {.max_tokens = 20});
  const Generation whole = generate(model_, cache, sequence, ignore);
  EXPECT_EQ(whole.text, turn.generation.text);
}

TEST_F(Conversations, ResetBeginsAnew) {
  Conversation conversation = start(0, "Be brief");
  const ChatTurn first = conversation.answer("Hi", ignore);
  conversation.reset();
  EXPECT_EQ(conversation.messages().size(), 1u);
  EXPECT_TRUE(conversation.turns().empty());
  const ChatTurn again = conversation.answer("Hi", ignore);
  EXPECT_EQ(again.prompt_tokens, first.prompt_tokens);
  EXPECT_EQ(again.cached_tokens, first.prompt_tokens - 1);  // all but the last is still there
  EXPECT_EQ(again.generation.text, first.generation.text);
}

TEST_F(Conversations, AFullContextDropsTheOldestTurns) {
  Conversation conversation = start(120, "Be brief");
  std::int64_t dropped = 0;
  for (int i = 0; i < 6; ++i) {
    const ChatTurn turn = conversation.answer("Tell me a story", ignore);
    EXPECT_LE(turn.prompt_tokens, 120 - 30);
    dropped += turn.dropped;
  }
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(conversation.messages()[0].role, "system");
  EXPECT_EQ(conversation.messages()[1].role, "user");
}

TEST_F(Conversations, AMessageThatDoesNotFitIsNotSaid) {
  Conversation conversation = start(64);
  EXPECT_ERROR(conversation.answer(std::string(500, 'x'), ignore),
               AllOf(HasSubstr("the message takes"), HasSubstr("64 positions")));
  EXPECT_TRUE(conversation.messages().empty());
  conversation.answer("Hi", ignore);
  EXPECT_EQ(conversation.messages().size(), 2u);
}

TEST_F(Conversations, AnInterruptEndsTheAnswerOnly) {
  Conversation conversation = start();
  const ChatTurn stopped =
      conversation.answer("Tell me a story", [](std::string_view) { request_interrupt(); });
  EXPECT_TRUE(stopped.interrupted);
  EXPECT_FALSE(interrupt_requested());
  EXPECT_FALSE(stopped.generation.text.empty());
  const ChatTurn next = conversation.answer("Go on", ignore);
  EXPECT_FALSE(next.interrupted);
  EXPECT_GE(next.cached_tokens, stopped.prompt_tokens);
}

TEST_F(Conversations, TemplatesErrorsLeaveTheConversationAsItWas) {
  testing::write_file(folder_ / "chat_template.jinja",
                      "{% if messages | length > 1 %}{{ raise_exception('enough') }}{% endif %}a");
  Conversation conversation = start();
  conversation.answer("Hi", ignore);
  EXPECT_ERROR(conversation.answer("Hi", ignore), HasSubstr("TemplateError: enough"));
  EXPECT_EQ(conversation.messages().size(), 2u);
}

TEST_F(Conversations, NoTemplateIsAnError) {
  std::filesystem::remove(folder_ / "chat_template.jinja");
  EXPECT_ERROR(ChatFormat::load(folder_.path()), HasSubstr("no chat template"));
}

TEST_F(Conversations, ALaterPartOfASplitModelHasTheTemplateOfTheFirst) {
  for (const std::uint32_t number : {0u, 1u}) {
    GgufMetadata metadata;
    metadata.set_uint("split.no", number);
    metadata.set_uint("split.count", 2);
    if (number == 0) metadata.set("tokenizer.chat_template", "{{ messages[0].content }}!");
    GgufWriter(folder_ / fmt::format("m-0000{}-of-00002.gguf", number + 1), metadata, {}).commit();
  }
  const ChatFormat later = ChatFormat::load(folder_ / "m-00002-of-00002.gguf");
  EXPECT_EQ(later.render({.messages = jinja::Value::list({make_message("user", "Hi")})}), "Hi!");
}

TEST_F(Conversations, MessagesMustBeAListOfObjects) {
  EXPECT_ERROR(format().render({.messages = jinja::Value::text("x")}), HasSubstr("messages"));
  EXPECT_ERROR(format().render({.messages = jinja::Value::list({jinja::Value()})}),
               HasSubstr("item 0"));
}

}  // namespace
}  // namespace nibble
