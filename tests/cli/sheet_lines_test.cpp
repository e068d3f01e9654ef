// Every command line of the published result sheets, against tiny models under the published names.
#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "cli/in_a_folder.h"
#include "models/architecture_configs.h"
#include "nibble/quant/random_model.h"
#include "paths.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char kColumns[] =
    "| Example# | Prompt Length (tokens) | New Tokens Generated | Total Time (s) | "
    "Prefill Phase (ms) | Time/Token (ms) | Tokens/Sec |";

/// A line's words, "python run_awq.py" being "run_awq".
std::vector<std::string> arguments(const std::string& line) {
  std::istringstream words(line);
  std::vector<std::string> args;
  for (std::string word; words >> word;) args.push_back(word);
  EXPECT_EQ(args.at(0), "python");
  args.erase(args.begin());
  args[0] = args[0].substr(0, args[0].find(".py"));
  return args;
}

std::string value_of(const std::vector<std::string>& args, const std::string& flag) {
  const auto at = std::find(args.begin(), args.end(), flag);
  return at == args.end() || at + 1 == args.end() ? "" : at[1];
}

/// The lines of one model; "": those that name none.
std::vector<std::vector<std::string>> lines_of(const std::string& model) {
  std::vector<std::vector<std::string>> found;
  for (const std::string& line : lines(read_file(fixture("sheet-commands.txt")))) {
    std::vector<std::string> args = arguments(line);
    if (value_of(args, "--model_name") == model) found.push_back(std::move(args));
  }
  return found;
}

/// Prompt lengths of the rows of a table; nothing if there is no table.
std::optional<std::vector<int>> table_rows(const std::string& text) {
  const std::vector<std::string> all = lines(text);
  const auto titles = std::find(all.begin(), all.end(), kColumns);
  if (titles == all.end()) return std::nullopt;
  std::vector<int> prompts;
  for (auto row = titles + 2; row != all.end() && row->starts_with("|"); ++row) {
    std::istringstream cells(*row);
    std::string bar;
    double example = 0, prompt = 0, generated = 0, total = 0, prefill = 0, token = 0, rate = 0;
    cells >> bar >> example >> bar >> prompt >> bar >> generated >> bar >> total >> bar >>
        prefill >> bar >> token >> bar >> rate;
    EXPECT_TRUE(cells) << *row;
    EXPECT_EQ(example, static_cast<double>(prompts.size() + 1));
    EXPECT_GT(generated, 1);
    EXPECT_GT(prefill, 0);
    // The digits that are shown may round up what is no more than the total.
    EXPECT_GE(1000 * total + 0.1, prefill + (generated - 1) * (token - 0.001)) << *row;
    prompts.push_back(static_cast<int>(prompt));
  }
  return prompts;
}

/// A sheet's model: a tiny one of its architecture.
struct SheetModel {
  const char* name;
  const char* architecture;
  int context;
  std::map<std::string, std::vector<int>> prompts;  // by task; "decode" has ten of any length
};

const SheetModel kModels[] = {
    {"nltpt/Llama-3.2-1B", "LlamaForCausalLM", 131072, {}},
    {"NousResearch/Meta-Llama-3.1-8B", "LlamaForCausalLM", 131072, {}},
    {"llama-2-7b",
     "LlamaForCausalLM",
     4096,
     {{"benchmark", {4, 8, 16, 32, 64, 128, 256}},
      {"benchmark_long", {512, 1024, 1536, 2000, 3000, 4000}}}},
    {"facebook/opt-6.7b",
     "OPTForCausalLM",
     2048,
     {{"benchmark", {4, 8, 16, 32, 64, 128, 256}}, {"benchmark_long", {512, 1024, 1536, 2000}}}},
    {"Qwen/Qwen1.5-7B",
     "Qwen2ForCausalLM",
     32768,
     {{"benchmark", {4, 8, 16, 32, 64, 128, 256}},
      {"benchmark_exact", {128, 256, 512, 1024, 2048}},
      {"profilemodel256", {256}},
      {"profilemodel512", {512}},
      {"profilemodel1k", {1024}},
      {"profilemodel2k", {2048}}}}};

class SheetLines : public ::testing::TestWithParam<SheetModel> {
 protected:
  SheetLines() {
    std::string text;
    for (int i = 0; i < 12; ++i) text += read_file(stories_text());
    write_file(folder_ / "wiki.test.raw", read_file(stories_text()));
    write_file(folder_ / "wiki.train.raw", text);
    make_model();
  }

  void make_model() const {
    const SheetModel& model = GetParam();
    const fs::path config = folder_ / "config";
    fs::create_directories(config);
    for (const char* file : {"tokenizer.model", "tokenizer_config.json"}) {
      fs::copy(data_file(std::string("stories260K/") + file), config / file);
    }
    nlohmann::json json = {{"vocab_size", 512}, {"max_position_embeddings", model.context}};
    json = std::string(model.architecture) == "OPTForCausalLM"
               ? opt_config(json)
               : rotary_config(model.architecture, json);
    write_file(config / "config.json", json.dump());
    const fs::path place = folder_ / "models" / model.name;
    fs::create_directories(place.parent_path());
    ThreadPool pool(1);
    write_random_model(config, {.bits = 16}, pool, place, false);
  }

  Outcome run(const std::vector<std::string>& args) const {
    Invocation invocation;
    invocation.args = args;
    invocation.env = {{"NIBBLE_MODELS", (folder_ / "models").string()},
                      {"NIBBLE_DATA", folder_.path().string()}};
    return run_command(invocation);
  }

  /// Runs a line; where its checkpoint is missing, first the command that the error names.
  Outcome run_with_checkpoint(const std::vector<std::string>& args) const {
    Outcome outcome = run(args);
    const std::string mark = "make it with: nibble ";
    const std::size_t at = outcome.err.find(mark);
    if (outcome.status != 1 || at == std::string::npos) return outcome;
    expect_failure(outcome, 1, {"no ", " checkpoint of it yet"});
    expect_success(run(arguments("python " + outcome.err.substr(at + mark.size()))));
    return run(args);
  }

  void expect_quantized(const Outcome& outcome) const {
    expect_success(outcome);
    EXPECT_THAT(outcome.out, HasSubstr("\n" + std::string(GetParam().architecture) + "(\n"));
    EXPECT_THAT(outcome.out, HasSubstr("\nWhat does Xilinx do?"));
    EXPECT_EQ(outcome.out.find("What is the mass of earth?"), std::string::npos);
  }

  const TemporaryFolder folder_;
};

TEST_P(SheetLines, RunAsTheyStand) {
  const std::vector<std::vector<std::string>> found = lines_of(GetParam().name);
  for (const std::vector<std::string>& args : found) {
    SCOPED_TRACE(::testing::PrintToString(args));
    const std::string task = value_of(args, "--task");
    if (task == "quantize") {
      expect_quantized(run(args));
      continue;
    }
    const Outcome outcome = run_with_checkpoint(args);
    expect_success(outcome);
    EXPECT_THAT(outcome.out, StartsWith(std::string(GetParam().architecture) + "(\n"));
    const bool as_one = std::find_if(args.begin(), args.end(), [](const std::string& arg) {
                          return arg == "--flash_attention_plus" || arg == "--fast_attention";
                        }) != args.end();
    EXPECT_EQ(outcome.out.find("(qkv_proj): ") != std::string::npos, as_one);
    EXPECT_EQ(outcome.out.find("(q_proj): ") == std::string::npos, as_one);
    const bool aie = value_of(args, "--target") == "aie";
    EXPECT_EQ(outcome.err.find("no such device") != std::string::npos, aie);
    const auto rows = table_rows(outcome.out);
    ASSERT_TRUE(rows) << outcome.out;
    if (task == "decode") {
      EXPECT_EQ(rows->size(), 10u);
    } else {
      EXPECT_EQ(*rows, GetParam().prompts.at(task));
    }
  }
  EXPECT_FALSE(found.empty());
}

INSTANTIATE_TEST_SUITE_P(Models, SheetLines, ::testing::ValuesIn(kModels),
                         [](const auto& test_case) {
                           std::string name = test_case.param.name;
                           name = name.substr(name.find('/') + 1);
                           std::erase_if(name, [](char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

TEST(SheetLinesOfNoModel, AreHelpAndOneWithoutItsBlank) {
  std::vector<std::string> commands;
  for (const std::vector<std::string>& args : lines_of("")) {
    const Outcome outcome = nibble(args);
    if (args[1] != "--help") {
      expect_failure(
          outcome, 2,
          {"--model_nameNousResearch/Meta-Llama-3.1-8B", "blank", "behind --model_name"});
      continue;
    }
    expect_success(outcome);
    commands.push_back(args[0]);
    for (const char* task : {"quantize", "decode", "benchmark", "benchmark_long", "benchmark_exact",
                             "benchmark_long_output", "profilemodel", "profilemodel256",
                             "profilemodel512", "profilemodel1k", "profilemodel2k", "perplexity",
                             "mmlu", "humaneval", "infershapes", "countgops", "chat"}) {
      EXPECT_THAT(outcome.out, HasSubstr(std::string("\n  ") + task + " "));
    }
  }
  EXPECT_THAT(commands, ::testing::ElementsAre("run_smoothquant", "run_awq"));
}

TEST(SheetLinesOfNoModel, EveryOtherLineIsOneOfTheModelsHere) {
  std::size_t count = lines_of("").size();
  EXPECT_EQ(count, 3u);
  for (const SheetModel& model : kModels) count += lines_of(model.name).size();
  EXPECT_EQ(count, lines(read_file(fixture("sheet-commands.txt"))).size());
}

}  // namespace
}  // namespace nibble::testing
