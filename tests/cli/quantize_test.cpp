// nibble quantize with what it learns from a text: AWQ, SmoothQuant, and what they find in files.
#include <nlohmann/json.hpp>

#include "cli/expect_failure.h"
#include "cli/file_size_limit.h"
#include "cli/in_a_folder.h"
#include "nibble/core/json.h"
#include "paths.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Quantize : public BesideAModel {
 protected:
  Outcome quantize(const std::string& out, std::vector<std::string> args,
                   const std::vector<std::string>& calibration) const {
    args.insert(args.begin(), {"quantize", "model", "-o", out, "--group-size", "32"});
    args.insert(args.end(), calibration.begin(), calibration.end());
    return here(args);
  }

  std::string weights_of(const std::string& out) const {
    return read_file(folder_ / out / "model.safetensors");
  }

  const std::vector<std::string> calibration_ = {
      "--calib", data_file("stories.txt"), "--n-samples", "4", "--seq-len", "64"};
};

TEST_F(Quantize, AwqsSearchesAreKeptAndUsedAgain) {
  const std::vector<std::string> awq = {"--algorithm", "awq", "--awq-cache", "search"};
  expect_success(quantize("first", awq, calibration_));
  EXPECT_TRUE(fs::exists(folder_ / "search"));
  const Outcome again = quantize("again", awq, {});
  expect_success(again);
  EXPECT_THAT(again.err, HasSubstr("search: the searches in it were used"));
  EXPECT_EQ(weights_of("again"), weights_of("first"));
  expect_success(here({"run", "first", "Once", "-n", "4"}));
}

TEST_F(Quantize, AwqPlusHasAHeadOfGroupsOf32) {
  expect_success(quantize("awqplus", {"--algorithm", "awqplus"}, calibration_));
  const Json awqplus = Json::parse(here({"inspect", "awqplus", "--json"}).out);
  for (const Json& tensor : awqplus["tensors"]) {
    if (tensor["name"] == "lm_head.weight") {
      EXPECT_EQ(tensor["group_size"], 32);
    }
  }
}

TEST_F(Quantize, SmoothQuantsMaximaAreKeptAndUsedAgain) {
  const std::vector<std::string> w8a8 = {"--algorithm", "smoothquant", "--act-scales", "maxima"};
  expect_success(quantize("first", w8a8, calibration_));
  expect_success(quantize("again", w8a8, {}));
  EXPECT_EQ(weights_of("again"), weights_of("first"));
  EXPECT_THAT(read_file(folder_ / "first" / "config.json"), HasSubstr("\"activations\": \"int8\""));
  expect_success(quantize("w8a16",
                          {"--algorithm", "smoothquant", "--act-scales", "maxima", "--precision",
                           "w8a16", "--weight-scale", "tensor", "--head", "quantized"},
                          {}));
  EXPECT_THAT(read_file(folder_ / "w8a16" / "config.json"), Not(HasSubstr("activations")));
  expect_success(here({"run", "w8a16", "Once", "-n", "4"}));
}

TEST_F(Quantize, ExportsOfAwqRun) {
  expect_success(quantize("made", {"--algorithm", "awq"}, calibration_));
  for (const std::string to : {"hf", "awq", "gguf"}) {
    const std::string out = to == "gguf" ? "exported.gguf" : to;
    expect_success(here({"export", "made", "--to", to, "-o", out}));
    expect_success(here({"run", out, "Once", "-n", "4"}));
  }
}

TEST_F(Quantize, WhatDoesNotFitIntoMemoryGoesToAFile) {
  for (const std::string algorithm : {"awq", "best"}) {
    const std::vector<std::string> flags = {"--algorithm", algorithm};
    expect_success(quantize(algorithm, flags, calibration_));
    std::vector<std::string> spilling = flags;
    spilling.insert(spilling.end(), {"--max-memory", "1K"});
    expect_success(quantize(algorithm + "-spilled", spilling, calibration_));
    EXPECT_EQ(weights_of(algorithm + "-spilled"), weights_of(algorithm));
    spilling.emplace_back("--dry-run");
    EXPECT_THAT(quantize("none", spilling, calibration_).out, HasSubstr("temporary file"));
  }
}

TEST_F(Quantize, ADiskWithoutRoomForActivationsLeavesNothing) {
  const FileSizeLimit limit(400 << 10);  // between the checkpoint's size and the activations'
  expect_failure(
      quantize("out", {"--algorithm", "gptq", "--max-memory", "1K"},
               {"--calib", data_file("stories.txt"), "--n-samples", "32", "--seq-len", "128"}),
      1, {"out", "no room for a temporary file", "File too large"});
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);  // the model
}

TEST_F(Quantize, WhatIsMissingOrDoesNotFitIsSaid) {
  for (const char* size : {"0", "4X", "-1G", "G", ""}) {
    expect_failure(quantize("out", {"--max-memory", size}, {}), 2,
                   {"--max-memory: expected a size"});
  }
  write_file(folder_ / "search", "no search");
  expect_failure(quantize("out", {"--algorithm", "awq", "--awq-cache", "search"}, {}), 1,
                 {"search"});
  expect_failure(quantize("out", {"--algorithm", "smoothquant", "--act-scales", "search"}, {}), 1,
                 {"search"});
  expect_failure(quantize("out", {"--algorithm", "awq"}, {"--calib", "nothing.txt"}), 1,
                 {"nothing.txt"});
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(Quantize, WhereASearchCannotBeKeptIsSaidBeforeTheSearch) {
  for (const auto& [algorithm, flag] :
       {std::pair{"awq", "--awq-cache"}, std::pair{"smoothquant", "--act-scales"}}) {
    const auto keep_in = [&, &algorithm = algorithm, &flag = flag](const std::string& file) {
      return quantize("out", {"--algorithm", algorithm, flag, file}, calibration_);
    };
    expect_failure(keep_in("nowhere/kept"), 1, {"nowhere/kept", "No such file or directory"});
    expect_failure(keep_in("out/model.safetensors"), 1, {flag, "lies in the output, out"});
    EXPECT_FALSE(fs::exists(folder_ / "out"));
  }
}

TEST_F(Quantize, NumbersOfNoSizeAreRefused) {
  for (const std::string flag : {"--shrinkage", "--correction", "--alpha", "--learning-rate"}) {
    expect_failure(quantize("out", {flag, "nan"}, {}), 2, {flag, "expected a number, found nan"});
  }
}

TEST_F(Quantize, BytesThatAreNoTextAreNotCalibratedOn) {
  write_file(folder_ / "utf16.txt", std::string("O\0n\0c\0e\0", 8));
  expect_failure(quantize("out", {"--algorithm", "gptq"}, {"--calib", "utf16.txt"}), 1,
                 {"utf16.txt: byte 1 is NUL"});
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

}  // namespace
}  // namespace nibble::testing
