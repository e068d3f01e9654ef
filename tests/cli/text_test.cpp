// What goes in and out of run, tokenize, detokenize and logits: texts, files, standard input,
// stops and limits.
#include "cli/expect_failure.h"
#include "core/temporary_folder.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Text : public ::testing::Test {
 protected:
  Outcome with_input(const std::vector<std::string>& args, const std::string& input) const {
    Invocation run;
    run.args = args;
    run.input = input;
    return run_command(run);
  }
  nlohmann::json generate(std::vector<std::string> args) const {
    args.insert(args.begin(), {"run", model_});
    args.insert(args.end(), {"--json", "-q"});
    const Outcome outcome = nibble(args);
    expect_success(outcome);
    return outcome.json();
  }

  const TemporaryFolder folder_;
  const std::string model_ = copy_stories(folder_ / "model").string();
};

TEST_F(Text, ComesFromArgumentFileOrStandardInput) {
  const std::string file = (folder_ / "text").string();
  write_file(file, "Once upon");
  const std::string expected = "1 403 407\n";
  EXPECT_EQ(nibble({"tokenize", model_, "Once upon"}).out, expected);
  EXPECT_EQ(nibble({"tokenize", model_, "-f", file}).out, expected);
  EXPECT_EQ(nibble({"tokenize", model_, "--file", file}).out, expected);
  EXPECT_EQ(with_input({"tokenize", model_, "-"}, "Once upon").out, expected);
  EXPECT_EQ(with_input({"tokenize", model_, "-f", "-"}, "Once upon").out, expected);
  EXPECT_EQ(with_input({"run", model_, "-", "-n", "2", "-q"}, "Once upon").out, " a time\n");
  EXPECT_EQ(nibble({"run", model_, "-f", file, "-n", "2", "-q"}).out, " a time\n");
}

TEST_F(Text, UnreadableTextsAreNamed) {
  expect_failure(nibble({"tokenize", model_, "-f", "/no/such/file"}), 1, {"/no/such/file"});
  expect_failure(nibble({"run", model_, "-f", model_, "-n", "1"}), 1, {model_, "regular file"});
  expect_failure(nibble({"eval", model_, "--text", "/no/such/file"}), 1, {"/no/such/file"});
}

TEST_F(Text, BytesAreTakenAsTheyStand) {
  // Each maximal invalid part is one U+FFFD, whose three bytes this vocabulary spells out.
  const std::string replacement = "242 194 192";
  EXPECT_EQ(nibble({"tokenize", model_, "\xff", "--no-special"}).out, "410 " + replacement + "\n");
  EXPECT_EQ(nibble({"tokenize", model_, "\xe2\x82", "--no-special"}).out,
            "410 " + replacement + "\n");
  EXPECT_EQ(with_input({"tokenize", model_, "-", "--no-special"}, "hi\r\n").out,
            nibble({"tokenize", model_, "hi\r\n", "--no-special"}).out);
}

TEST_F(Text, SpecialTokens) {
  EXPECT_EQ(nibble({"tokenize", model_, "hi", "--no-special"}).out, "270 417\n");
  EXPECT_EQ(nibble({"tokenize", model_, "", "--no-special"}).out, "\n");
  EXPECT_EQ(nibble({"tokenize", model_, ""}).out, "1\n");
  EXPECT_EQ(nibble({"tokenize", model_, "</s>", "--no-special"}).out, "2\n");
  EXPECT_THAT(nibble({"tokenize", model_, "</s>", "--no-special", "--no-parse-special"}).out,
              Not(HasSubstr("2\n")));
}

TEST_F(Text, DetokenizeTakesWhatTokenizeGives) {
  EXPECT_EQ(nibble({"detokenize", model_, "403", "407"}).out, "Once upon\n");
  EXPECT_EQ(nibble({"detokenize", model_, "403,407"}).out, "Once upon\n");
  EXPECT_EQ(nibble({"detokenize", model_, "403", "407", "--json"}).json()["text"], "Once upon");
}

TEST_F(Text, StopTextsAreNotPrinted) {
  EXPECT_EQ(generate({"Once upon", "-n", "20"})["stop_reason"], "length");
  const auto stopped = generate({"Once upon", "--stop", "xyz", "--stop", " there"});
  EXPECT_EQ(stopped["text"], " a time,");
  EXPECT_EQ(stopped["stop_reason"], "stop");
  EXPECT_EQ(nibble({"run", model_, "Once upon", "--stop", "ime", "-q"}).out, " a t\n");
  EXPECT_EQ(generate({"Once upon", "-n", "3", "--stop", ""})["stop_reason"], "length");
}

TEST_F(Text, LengthsAndTheContext) {
  const auto nothing = generate({"Once", "-n", "0"});
  EXPECT_EQ(nothing["ids"], nlohmann::json::array());
  EXPECT_EQ(nothing["text"], "");
  EXPECT_EQ(nothing["stop_reason"], "length");
  const auto full = generate({"Once", "-n", "-1", "-c", "10", "--ignore-eos"});
  EXPECT_EQ(full["stop_reason"], "context");
  EXPECT_EQ(full["prompt_tokens"], 2);
  EXPECT_EQ(full["generated_tokens"], 9);  // the last one needs no position
  EXPECT_EQ(generate({"Once", "-n", "100000", "--ignore-eos"})["stop_reason"], "context");
  // Without a limit the context ends it, also where it gives just as many tokens as it has places.
  const auto from_bos = generate({"", "-n", "-1", "-c", "10", "--ignore-eos"});
  EXPECT_EQ(from_bos["generated_tokens"], 10);
  EXPECT_EQ(from_bos["stop_reason"], "context");
  EXPECT_THAT(nibble({"run", model_, "Once", "-n", "1", "-c", "513"}).err,
              AllOf(HasSubstr("513"), HasSubstr("512")));
  const auto exact = generate({"Once upon", "-n", "1", "-c", "3"});
  EXPECT_EQ(exact["stop_reason"], "length");
}

TEST_F(Text, APromptPastTheContextIsRefused) {
  expect_failure(nibble({"run", model_, "Once upon a time", "-c", "3"}), 1, {"5 tokens", "3"});
  std::string text;
  for (int i = 0; i < 600; ++i) text += " a";
  expect_failure(with_input({"run", model_, "-"}, text), 1, {"602 tokens", "512"});
  expect_failure(nibble({"logits", model_, "--tokens", "1,2,3", "-c", "2", "-o",
                         (folder_ / "l.npy").string()}),
                 1, {"3 tokens", "2"});
  EXPECT_EQ(listing(folder_.path()), std::vector<std::string>{"model"});
}

TEST_F(Text, EndOfSequenceEndsIt) {
  // Any token may be declared the end: the greedy continuation's fourth, a comma.
  const auto ids = generate({"Once upon", "-n", "5"})["ids"];
  write_file(fs::path(model_) / "generation_config.json",
             "{\"eos_token_id\": [" + ids[2].dump() + ", null]}");
  expect_failure(nibble({"run", model_, "Once upon"}), 1,
                 {"generation_config.json", "eos_token_id"});
  write_file(fs::path(model_) / "generation_config.json",
             "{\"eos_token_id\": [7, " + ids[2].dump() + "], \"bos_token_id\": null}");
  const auto ended = generate({"Once upon"});
  EXPECT_EQ(ended["stop_reason"], "eos");
  EXPECT_EQ(ended["generated_tokens"], 3);
  EXPECT_EQ(generate({"Once upon", "-n", "5", "--ignore-eos"})["ids"], ids);
}

TEST_F(Text, AnEmptyPromptBeginsWithBosOrSaysSo) {
  EXPECT_EQ(generate({"", "-n", "2"})["prompt_tokens"], 1);
  write_file(fs::path(model_) / "tokenizer_config.json",
             R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "bos_token": null})");
  std::string config = read_file(fs::path(model_) / "config.json");
  config.replace(config.find("\"bos_token_id\": 1"), 17, "\"bos_token_id\": null");
  write_file(fs::path(model_) / "config.json", config);
  expect_failure(nibble({"run", model_, ""}), 1, {"prompt is empty"});
  expect_failure(nibble({"logits", model_, "--prompt", "", "-o", (folder_ / "l").string()}), 1,
                 {"no tokens"});
}

TEST_F(Text, LogitsTakeExactlyTheseIds) {
  const std::string file = (folder_ / "l.npy").string();
  EXPECT_EQ(nibble({"logits", model_, "--tokens", "5,6,7", "-o", file, "--json"}).json()["shape"],
            nlohmann::json({3, 512}));
  expect_failure(nibble({"logits", model_, "--tokens", "1,512", "-o", file}), 1, {"512"});
}

TEST_F(Text, EvalLengths) {
  const std::string text = stories_text().string();
  expect_failure(nibble({"eval", model_, "--text", text, "--seqlen", "513"}), 1, {"513", "512"});
  expect_failure(nibble({"eval", model_, "--text", text, "--seqlens", "8,64", "-c", "16"}), 1,
                 {"64", "16"});
  const auto short_context =
      nibble({"eval", model_, "--text", text, "-c", "16", "--n-segments", "1", "--json"});
  EXPECT_EQ(short_context.json()["results"][0]["seqlen"], 16);
  // One table compares like with like: the shorter context decides.
  const fs::path small = copy_stories(folder_ / "small");
  nlohmann::json config = nlohmann::json::parse(read_file(small / "config.json"));
  config["max_position_embeddings"] = 64;
  write_file(small / "config.json", config.dump());
  const auto both = nibble({"eval", model_, small.string(), "--text", text, "--json"}).json();
  EXPECT_EQ(both["models"][0]["results"][0]["seqlen"], 64);
  EXPECT_EQ(both["models"][0]["results"], both["models"][1]["results"]);
  expect_failure(
      nibble({"eval", model_, "--reference", small.string(), "--text", text, "--seqlen", "65"}), 1,
      {"65", small.string(), "64"});
  const std::string word = (folder_ / "word").string();
  write_file(word, "hello");
  expect_failure(nibble({"eval", model_, "--text", word}), 1, {"tokens", "512"});
  Invocation run;
  run.args = {"eval", model_};
  run.env = {{"NIBBLE_DATA", folder_.path().string()}};
  expect_failure(run_command(run), 1, {"wiki.test.raw", "--text", folder_.path().string()});
}

}  // namespace
}  // namespace nibble::testing
