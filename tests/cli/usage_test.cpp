// Wrong usage, --help, --version, -q and --json of the sub-commands.
#include <cstdlib>

#include "cli/expect_failure.h"
#include "core/temporary_folder.h"
#include "paths.h"

namespace nibble::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<std::string> kCommands = {
    "run",     "quantize", "eval", "logits",  "tokenize",       "detokenize",
    "inspect", "init",     "info", "bench",   "profile",        "export",
    "chat",    "template", "npu",  "run_awq", "run_smoothquant"};

class Usage : public ::testing::Test {
 protected:
  const TemporaryFolder folder_;
  const std::string model_ = copy_stories(folder_ / "model").string();
  const std::string text_ = stories_text().string();
  const std::string out_ = (folder_ / "out").string();
};

TEST_F(Usage, VersionAndHelpGoToStandardOutput) {
  const Outcome version = nibble({"--version"});
  expect_success(version);
  EXPECT_THAT(version.out, StartsWith("nibble "));
  EXPECT_EQ(lines(version.out).size(), 1u);
  const Outcome help = nibble({"--help"});
  expect_success(help);
  for (const std::string& command : kCommands) EXPECT_THAT(help.out, HasSubstr(command));
}

TEST_F(Usage, EverySubCommandHelpsWithAnExample) {
  for (const std::string& command : kCommands) {
    const Outcome help = nibble({command, "--help"});
    expect_success(help);
    EXPECT_EQ(help.err, "");
    EXPECT_THAT(help.out, HasSubstr("\n\nExample:\n  nibble " + command + " "));
    EXPECT_EQ(help.out.find("\n\n\n"), std::string::npos);
    for (const std::string& line : lines(help.out)) EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST_F(Usage, WrongUsageIsOneLineThatNamesWhatIsWrong) {
  struct Case {
    std::vector<std::string> args;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {{}, {"required", "nibble --help"}},
      {{"nosuch"}, {"unknown command \"nosuch\"", "(nibble --help"}},
      {{"quantise", model_}, {"unknown command \"quantise\"; did you mean quantize?"}},
      {{"detokenise", model_, "5"}, {"did you mean detokenize?"}},
      {{"--json"}, {"--json"}},
      {{"run"}, {"MODEL", "nibble run --help"}},
      {{"run", model_}, {"PROMPT", "--file"}},
      {{"run", model_, "hi", "there"}, {"there"}},
      {{"run", model_, "hi", "--nosuch"}, {"--nosuch"}},
      {{"run", model_, "hi", "--max-token", "5"}, {"--max-token", "did you mean --max-tokens?"}},
      {{"run", model_, "hi", "--thread=2"}, {"--thread=2", "did you mean --threads?"}},
      {{"run", model_, "hi", "-n"}, {"--max-tokens"}},
      {{"run", model_, "hi", "-n", "-2"}, {"--max-tokens", "-2"}},
      {{"run", model_, "hi", "-n", "nan"}, {"--max-tokens", "nan"}},
      {{"run", model_, "hi", "-n", "5x"}, {"--max-tokens", "5x"}},
      {{"run", model_, "hi", "-n", ""}, {"--max-tokens"}},
      {{"run", model_, "hi", "-n", "99999999999999999999"}, {"--max-tokens"}},
      {{"run", model_, "hi", "-c", "0"}, {"--context", "0"}},
      {{"run", model_, "hi", "-c", "9223372036854775808"}, {"--context"}},
      {{"run", model_, "hi", "--threads", "0"}, {"--threads", "0"}},
      {{"run", model_, "hi", "--threads", "100000"}, {"--threads"}},
      {{"run", model_, "hi", "--seed", "-1"}, {"--seed", "-1"}},
      {{"run", model_, "hi", "--seed", "18446744073709551616"}, {"--seed"}},
      {{"run", model_, "hi", "--temperature", "-1"}, {"--temperature", "-1"}},
      {{"run", model_, "hi", "--temperature", "nan"}, {"--temperature", "nan"}},
      {{"run", model_, "hi", "--temperature", "1e999"}, {"--temperature", "inf"}},
      {{"run", model_, "hi", "--temperature", "warm"}, {"--temperature", "warm"}},
      {{"run", model_, "hi", "--top-k", "-1"}, {"--top-k", "-1"}},
      {{"run", model_, "hi", "--top-k", "1.5"}, {"--top-k", "1.5"}},
      {{"run", model_, "hi", "--top-p", "0"}, {"--top-p", "0"}},
      {{"run", model_, "hi", "--top-p", "nan"}, {"--top-p", "nan"}},
      {{"run", model_, "hi", "--min-p", "1.5"}, {"--min-p", "1.5"}},
      {{"run", model_, "hi", "--repeat-penalty", "0"}, {"--repeat-penalty", "0"}},
      {{"run", model_, "hi", "--repeat-penalty", "inf"}, {"--repeat-penalty", "inf"}},
      {{"run", model_, "hi", "--dtype", "f64"}, {"--dtype", "f64"}},
      {{"run", model_, "hi", "--activations", "f16"}, {"--activations", "f16"}},
      {{"run", model_, "hi", "--kv", "f16"}, {"--kv", "f16"}},
      {{"run", model_, "hi", "-f", "x"}, {"PROMPT", "--file"}},
      {{"quantize", model_}, {"--output"}},
      {{"quantize", model_, "-o", out_, "--algorithm", "fast"}, {"--algorithm", "fast"}},
      {{"quantize", model_, "-o", out_, "--w-bit", "5"}, {"--w-bit", "5"}},
      {{"quantize", model_, "-o", out_, "--group-size", "48"}, {"--group-size", "48"}},
      {{"quantize", model_, "-o", out_, "--head", "int8"}, {"--head", "int8"}},
      {{"eval", model_, "--task", "sums"}, {"--task", "sums"}},
      {{"eval", model_, "--protocol", "other"}, {"--protocol", "other"}},
      {{"eval", model_, "--seqlen", "1"}, {"--seqlen", "1"}},
      {{"eval", model_, "--seqlen", "nan"}, {"--seqlen", "nan"}},
      {{"eval", model_, "--seqlens", "64,,128"}, {"--seqlens", "\"\""}},
      {{"eval", model_, "--seqlens", ""}, {"--seqlens", "\"\""}},
      {{"eval", model_, "--seqlens", "64,1"}, {"--seqlens", "\"1\""}},
      {{"eval", model_, "--seqlen", "8", "--seqlens", "8"}, {"--seqlen", "--seqlens"}},
      {{"eval", model_, "--n-segments", "0"}, {"--n-segments", "0"}},
      {{"logits", model_, "--tokens", "1"}, {"--output"}},
      {{"logits", model_, "-o", out_}, {"--tokens or --prompt"}},
      {{"logits", model_, "--tokens", "1", "--prompt", "x", "-o", out_}, {"--tokens", "--prompt"}},
      {{"logits", model_, "--tokens", "", "-o", out_}, {"--tokens", "\"\""}},
      {{"logits", model_, "--tokens", ",", "-o", out_}, {"--tokens", "\"\""}},
      {{"logits", model_, "--tokens", "1,,2", "-o", out_}, {"--tokens", "\"\""}},
      {{"logits", model_, "--tokens", "1,x", "-o", out_}, {"--tokens", "\"x\""}},
      {{"logits", model_, "--tokens", "1,2.5", "-o", out_}, {"--tokens", "\"2.5\""}},
      {{"logits", model_, "--tokens", "-1", "-o", out_}, {"--tokens", "\"-1\""}},
      {{"logits", model_, "--tokens", "99999999999", "-o", out_}, {"--tokens", "\"99999999999\""}},
      {{"tokenize", model_}, {"TEXT", "--file"}},
      {{"detokenize", model_}, {"ID"}},
      {{"detokenize", model_, ""}, {"ID", "\"\""}},
      {{"detokenize", model_, "5", "x"}, {"ID", "\"x\""}},
      {{"detokenize", model_, "--", "-5"}, {"ID", "\"-5\""}},
      {{"inspect"}, {"MODEL"}},
      {{"init", model_}, {"--output"}},
      {{"init", model_, "-o", out_, "--head-group-size", "32", "--head", "bf16"},
       {"--head-group-size", "bf16"}},
      {{"init", model_, "-o", out_, "--head-group-size", "32", "--precision", "w8a8"},
       {"--head-group-size", "channel"}},
      {{"bench", model_, "-r", "0"}, {"--repetitions", "0"}},
      {{"bench", model_, "-p", "-1"}, {"--prompt", "-1"}},
      {{"bench", model_, "--sequences", "-1"}, {"--sequences", "-1"}},
  };
  for (const Case& wrong : cases) {
    SCOPED_TRACE(::testing::PrintToString(wrong.args));
    expect_failure(nibble(wrong.args), 2, wrong.parts);
  }
  EXPECT_EQ(listing(folder_.path()), std::vector<std::string>{"model"});
}

TEST_F(Usage, NamesOfSubCommandsAreOrdinaryPrompts) {
  const Outcome outcome = nibble({"detokenize", model_, "403"});
  EXPECT_EQ(outcome.out, "Once\n");
  expect_success(nibble({"tokenize", model_, "run"}));
  expect_success(nibble({"tokenize", model_, "--", "--json"}));
}

TEST_F(Usage, QuietLeavesStandardErrorEmpty) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"run", model_, "Once", "-n", "3", "-q"},
           {"quantize", model_, "-o", out_, "-q"},
           {"init", model_, "-o", out_, "-q", "--force"},
           {"eval", model_, "--text", text_, "--n-segments", "1", "-q"}}) {
    const Outcome outcome = nibble(args);
    expect_success(outcome);
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out, "");
  }
}

TEST_F(Usage, RemarksGoToStandardError) {
  const Outcome outcome = nibble({"run", model_, "Once", "-n", "3"});
  EXPECT_EQ(outcome.out, " upon a time\n");
  EXPECT_THAT(outcome.err, StartsWith("nibble: prompt 2 tokens"));
}

TEST_F(Usage, JsonIsOneDocumentWithTheFieldsPromised) {
  struct Case {
    std::vector<std::string> args;
    std::vector<std::string> fields;
  };
  const std::string npy = (folder_ / "l.npy").string();
  const std::string made = (folder_ / "made").string();
  const std::vector<Case> cases = {
      {{"run", model_, "Once", "-n", "3"},
       {"prompt_tokens", "generated_tokens", "ids", "text", "stop_reason", "prefill_ms",
        "ms_per_token"}},
      {{"quantize", model_, "-o", out_},
       {"output", "algorithm", "seconds", "peak_rss_bytes", "bytes_in", "bytes_out",
        "bits_per_weight", "file_bits_per_parameter", "tensors"}},
      {{"quantize", model_, "--dry-run"}, {"tensors"}},
      {{"eval", model_, "--text", text_, "--seqlen", "64", "--n-segments", "2"},
       {"protocol", "text_sha256", "tokens", "results"}},
      {{"logits", model_, "--tokens", "1,2", "-o", npy}, {"output", "shape"}},
      {{"tokenize", model_, "hi"}, {"ids"}},
      {{"detokenize", model_, "403"}, {"text"}},
      {{"inspect", model_}, {"tensors", "bytes_per_token", "bits_per_weight"}},
      {{"init", model_, "-o", made}, {"output", "bits_per_weight"}},
      {{"info"}, {"kernels", "threads", "memory"}},
      {{"bench", model_, "-p", "8", "-n", "0", "-r", "1"},
       {"model", "kernels", "threads", "bits_per_weight", "bytes_per_token", "results", "load_ms",
        "first_tokens", "peak_rss_bytes"}},
      {{"profile", model_, "-p", "8", "-n", "0"}, {"model", "kernels", "threads", "prefill"}},
  };
  for (Case example : cases) {
    SCOPED_TRACE(::testing::PrintToString(example.args));
    example.args.emplace_back("--json");
    const Outcome outcome = nibble(example.args);
    expect_success(outcome);
    const nlohmann::json json = outcome.json();
    for (const std::string& field : example.fields) EXPECT_TRUE(json.contains(field)) << field;
  }
}

TEST_F(Usage, JsonOfQuantizedTensorsAndResults) {
  const auto quantized = nibble({"quantize", model_, "-o", out_, "--json"}).json();
  ASSERT_EQ(quantized["tensors"].size(), 36u);
  for (const char* field : {"name", "shape", "bits", "group_size", "rel_error"}) {
    EXPECT_TRUE(quantized["tensors"][0].contains(field)) << field;
  }
  const auto eval = nibble({"eval", out_, "--text", text_, "--seqlens", "32,64", "--n-segments",
                            "2", "--reference", model_, "--json"})
                        .json();
  ASSERT_EQ(eval["results"].size(), 2u);
  for (const char* field :
       {"seqlen", "segments", "perplexity", "nll", "kl_divergence", "top1_agreement"}) {
    EXPECT_TRUE(eval["results"][1].contains(field)) << field;
  }
}

TEST_F(Usage, DryRunSaysWhatQuantizeWillWrite) {
  const std::vector<std::string> args = {"quantize", model_, "--embedding", "int8"};
  auto dry = args;
  dry.insert(dry.end(), {"--dry-run", "--json"});
  const auto forecast = nibble(dry).json();
  auto real = args;
  real.insert(real.end(), {"-o", out_, "--json"});
  const auto report = nibble(real).json();
  EXPECT_EQ(forecast["bits_per_weight"], report["bits_per_weight"]);
  EXPECT_EQ(forecast["tensors"][0]["format"], "w8");
  EXPECT_EQ(forecast["tensors"][0]["bits"], 8);
  const auto inspected = nibble({"inspect", out_, "--json"}).json();
  ASSERT_EQ(forecast["tensors"].size(), inspected["tensors"].size());
  for (std::size_t i = 0; i < forecast["tensors"].size(); ++i) {
    for (const char* field : {"name", "shape", "format", "bytes"}) {
      EXPECT_EQ(forecast["tensors"][i][field], inspected["tensors"][i][field]);
    }
  }
  dry.pop_back();
  const std::string text = nibble(dry).out;
  EXPECT_THAT(text, HasSubstr("model.layers.{0-4}.mlp.down_proj.weight"));
  for (const char* line : {"  size  ", "  time  ", "  peak memory  "}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_GT(forecast["seconds"], 0);
  EXPECT_GT(forecast["peak_rss_bytes"], 0);
}

TEST_F(Usage, QuantizeSaysTheGroupSizesThatItTook) {
  // 128 divides neither 64 nor 192 channels.
  EXPECT_THAT(nibble({"quantize", model_, "-o", out_, "--group-size", "128"}).out,
              StartsWith(out_ + ": 36 layers at w4 g64\n"));
  EXPECT_THAT(nibble({"quantize", model_, "-o", out_, "--exclude", "*", "--force"}).out,
              StartsWith(out_ + ": no layers\n"));
}

TEST_F(Usage, IdsWithoutTokenAreRemarkedUpon) {
  const Outcome outcome = nibble({"detokenize", model_, "403", "512"});
  EXPECT_EQ(outcome.out, "Once\n");
  EXPECT_THAT(outcome.err, HasSubstr("512"));
  EXPECT_EQ(nibble({"detokenize", model_, "403", "511"}).err, "");
}

TEST_F(Usage, ResultsThatDoNotGetThroughAreNoSuccess) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"--version"},
                                             {"run", "--help"},
                                             {"run", model_, "Once", "-n", "4", "-q"},
                                             {"run", model_, "Once", "-n", "4", "--json"},
                                             {"eval", model_, "--text", text_, "--n-segments", "2"},
                                             {"tokenize", model_, "-f", text_},
                                             {"inspect", model_},
                                             {"inspect", model_, "--json"},
                                             {"info"}}) {
    SCOPED_TRACE(::testing::PrintToString(args));
    Invocation run;
    run.args = args;
    run.output = "/dev/full";
    expect_failure(run_command(run), 1, {"standard output: cannot be written"});
  }
}

TEST_F(Usage, AClosedPipeEndsItQuietly) {
  for (const std::string& args : {"run '" + model_ + "' Once -n -1 -c 1000000 --ignore-eos -q",
                                  "eval '" + model_ + "' --text '" + text_ + "' --seqlen 8"}) {
    const TemporaryFolder files;  // through the shell, whose pipes are what users have
    const std::string err = (files / "err").string();
    const std::string line =
        built_command() + " " + args + " 2>'" + err + "' | head -c 1 >/dev/null";
    EXPECT_EQ(std::system(line.c_str()), 0);
    EXPECT_EQ(read_file(files / "err"), "");
  }
}

TEST_F(Usage, AnUnknownKernelSetIsRefused) {
  Invocation run;
  run.args = {"run", model_, "Once"};
  run.env = {{"NIBBLE_ISA", "sse9"}};
  expect_failure(run_command(run), 1, {"NIBBLE_ISA", "scalar", "sse9"});
}

TEST_F(Usage, TheNumberOfThreadsChangesNothing) {
  std::vector<std::string> logits;
  std::vector<std::string> weights;
  std::vector<std::string> ids;
  std::vector<std::string> nll;
  for (const char* const threads : {"1", "2", "3"}) {
    const std::string npy = (folder_ / "l.npy").string();
    expect_success(
        nibble({"logits", model_, "--prompt", "Once upon a", "-o", npy, "--threads", threads}));
    expect_success(nibble({"quantize", model_, "-o", out_, "--force", "--threads", threads}));
    logits.push_back(read_file(npy));
    weights.push_back(read_file(folder_ / "out/model.safetensors"));
    ids.push_back(nibble({"run", model_, "Once", "-n", "200", "--json", "--threads", threads})
                      .json()["ids"]
                      .dump());
    nll.push_back(nibble({"eval", model_, "--text", text_, "--n-segments", "3", "--json",
                          "--threads", threads})
                      .json()["results"]
                      .dump());
  }
  for (const std::vector<std::string>& results : {logits, weights, ids, nll}) {
    EXPECT_FALSE(results[0].empty());
    EXPECT_TRUE(results[0] == results[1] && results[0] == results[2]);
  }
}

}  // namespace
}  // namespace nibble::testing
