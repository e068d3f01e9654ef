// `nibble quantize --target-bpw`.
#include "cli/in_a_folder.h"

namespace nibble::testing {
namespace {

class TargetBpw : public BesideAModel {
 protected:
  Outcome quantize(const std::vector<std::string>& more) {
    std::vector<std::string> args = {"quantize",  "model", "-o",           "out",
                                     "--force",   "-q",    "--n-samples",  "4",
                                     "--seq-len", "32",    "--group-size", "32"};
    args.insert(args.end(), more.begin(), more.end());
    return here(args);
  }
};

TEST_F(TargetBpw, IsHeldByEveryAlgorithmAndByWhatADryRunSays) {
  for (const char* const algorithm : {"pergrp", "gptq", "best"}) {
    SCOPED_TRACE(algorithm);
    const Outcome run = quantize({"--algorithm", algorithm, "--target-bpw", "4.5", "--json"});
    expect_success(run);
    const auto json = run.json();
    EXPECT_LE(json["bits_per_weight"], 4.5);
    EXPECT_GT(json["bits_per_weight"], 4.2);
    const std::string weights = read_file(folder_ / "out/model.safetensors");
    const Outcome dry =
        quantize({"--algorithm", algorithm, "--target-bpw", "4.5", "--json", "--dry-run"});
    expect_success(dry);
    EXPECT_EQ(dry.json()["bits_per_weight"], json["bits_per_weight"]);
    expect_success(quantize({"--algorithm", algorithm, "--target-bpw", "4.5", "--threads", "3"}));
    EXPECT_EQ(read_file(folder_ / "out/model.safetensors"), weights);
    expect_success(here({"run", "out", "Once", "-n", "4", "-q"}));
  }
}

TEST_F(TargetBpw, IsRefusedWhereItCannotBe) {
  expect_failure(quantize({"--target-bpw", "3"}), 1, {"--target-bpw 3", "3.594"});
  expect_failure(quantize({"--target-bpw", "4", "--w-bit", "3"}), 2, {"--target-bpw", "--w-bit"});
  expect_failure(quantize({"--target-bpw", "4", "--algorithm", "awq"}), 2, {"--target-bpw", "awq"});
}

}  // namespace
}  // namespace nibble::testing
