#include "nibble/quant/random_model.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/tiny_model.h"
#include "core/error_matchers.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/parameters.h"
#include "nibble/runtime/model.h"
#include "weights/weight_values.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::make_tiny_model;
using testing::read_file;
using testing::TemporaryFolder;
using testing::tiny_config;
using testing::write_file;

/// A config whose matrices are made in several batches and items.
Json wide_config() {
  Json config = tiny_config();
  config["hidden_size"] = 512;
  config["num_hidden_layers"] = 1;
  config["vocab_size"] = 20011;
  return config;
}

TEST(RandomModel, IsTheSameForAnyThreads) {
  for (const int bits : {3, 4, 8, 16}) {
    const TemporaryFolder one;
    const TemporaryFolder three;
    const auto model = make_tiny_model(one, {.bits = bits, .seed = 7}, wide_config(), 1);
    const auto same = make_tiny_model(three, {.bits = bits, .seed = 7}, wide_config(), 3);
    EXPECT_EQ(read_file(model / "model.safetensors"), read_file(same / "model.safetensors"));
    EXPECT_EQ(read_file(model / "config.json"), read_file(same / "config.json"));
    const auto other = make_tiny_model(three, {.bits = bits, .seed = 8}, wide_config(), 1);
    EXPECT_NE(read_file(model / "model.safetensors"), read_file(other / "model.safetensors"));
  }
}

struct Moments {
  double mean = 0;
  double deviation = 0;
};

Moments moments_of(const std::vector<float>& values) {
  double sum = 0;
  double squares = 0;
  for (const float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const auto n = static_cast<double>(values.size());
  return {sum / n, std::sqrt(squares / n - sum * sum / n / n)};
}

// Of the head, 10 million weights: the standard errors of mean and deviation are far below the
// bounds.
TEST(RandomModel, WeightsHaveTheSpreadOfTrainedOnes) {
  for (const int bits : {3, 4, 8, 16}) {
    const TemporaryFolder folder;
    const Checkpoint checkpoint(make_tiny_model(folder, {.bits = bits}, wide_config()));
    const CheckpointTensor codes = checkpoint.tensor("model.embed_tokens.weight", {20011, 512});
    std::vector<float> embedding(20011 * 512);
    read_rows(codes, 0, 20011, embedding.data());
    EXPECT_NEAR(moments_of(embedding).mean, 0, 1e-4);
    EXPECT_NEAR(moments_of(embedding).deviation, 0.02, 1e-4);
    if (bits == 16) continue;
    const auto head = checkpoint.packed_weight(checkpoint.spec().head);
    ASSERT_TRUE(head);
    const Moments moments = moments_of(test::weight_values(head->view()));
    EXPECT_NEAR(moments.mean, 0, 1e-3);
    EXPECT_NEAR(moments.deviation, 0.02, 1e-3);
  }
}

// 203 rows: the 13th block has 11 rows of the matrix.
TEST(RandomModel, CodesUseTheWholeRangeAndPaddingIsZero) {
  for (const int bits : {3, 4}) {
    const TemporaryFolder folder;
    const Checkpoint checkpoint(make_tiny_model(folder, {.bits = bits}));
    const auto head = checkpoint.packed_weight(checkpoint.spec().head);
    ASSERT_TRUE(head);
    const WeightView view = head->view();
    IntegerBlock integers(view.cols, group_count(view));
    std::set<int> seen;
    for (std::int64_t block = 0; block < block_count(view); ++block) {
      codec_of(view.format).unpack(view, block, integers);
      for (std::int64_t row = 0; row < 16; ++row) {
        const bool exists = block * 16 + row < 203;
        for (std::int64_t c = 0; c < view.cols; ++c) {
          const int code = integers.q[static_cast<std::size_t>(row * view.cols + c)];
          if (exists) seen.insert(code);
          ASSERT_TRUE(exists || code == 0);
        }
        for (std::int64_t group = 0; group < integers.groups; ++group) {
          const auto place = static_cast<std::size_t>(group * 16 + row);
          const int middle = 1 << (bits - 1);
          const int zero = integers.zeros[place];
          ASSERT_EQ(integers.scales[place] != 0, exists);
          ASSERT_TRUE(exists ? zero == middle || zero == middle - 1 : zero == 0);
        }
      }
    }
    EXPECT_EQ(seen.size(), std::size_t{1} << bits);
  }
}

TEST(RandomModel, NormsAreOneAndBiasesZero) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {}));
  std::vector<float> values(64);
  CheckpointTensor norm = checkpoint.tensor("model.layers.1.input_layernorm.weight", {64});
  read_rows(norm, 0, 1, values.data());
  EXPECT_THAT(values, ::testing::Each(1.0F));
  CheckpointTensor bias = checkpoint.tensor("model.layers.1.self_attn.q_proj.bias", {64});
  read_rows(bias, 0, 1, values.data());
  EXPECT_THAT(values, ::testing::Each(0.0F));
}

TEST(RandomModel, LoadsAndRuns) {
  for (const int bits : {3, 4, 8, 16}) {
    const TemporaryFolder folder;
    ThreadPool pool(2);
    Model model(make_tiny_model(folder, {.bits = bits}), pool);
    KvCache cache = model.make_cache();
    std::vector<float> logits(203);
    const std::vector<std::int32_t> tokens = {1, 202, 17};
    model.forward_last(tokens, cache, logits.data());
    std::set<float> distinct;
    for (const float logit : logits) {
      ASSERT_TRUE(std::isfinite(logit));
      distinct.insert(logit);
    }
    EXPECT_GT(distinct.size(), 150u);  // random, not all alike
  }
}

TEST(RandomModel, IgnoresTheQuantizationOfTheConfigAndCopiesTokenizers) {
  const TemporaryFolder folder;
  Json config = tiny_config();
  config["quantization_config"] = {{"quant_method", "awq"}, {"bits", 4}};
  write_file(folder / "config.json", config.dump());
  write_file(folder / "tokenizer.json", "{}");
  write_file(folder / "notes.txt", "not a tokenizer's");
  ThreadPool pool(1);
  write_random_model(folder.path(), {.bits = 16}, pool, folder / "out", false);
  EXPECT_FALSE(Checkpoint(folder / "out").is_quantized());
  EXPECT_EQ(read_file(folder / "out" / "tokenizer.json"), "{}");
  EXPECT_FALSE(fs::exists(folder / "out" / "notes.txt"));
}

TEST(RandomModel, TheHeadMayHaveAGroupSizeOfItsOwn) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(
      make_tiny_model(folder, {.group_size = 64, .outer_group_size = 32}, wide_config()));
  const ModelSpec& spec = checkpoint.spec();
  EXPECT_EQ(checkpoint.packed_weight(spec.head)->view().group_size, 32);
  EXPECT_EQ(checkpoint.packed_weight(spec.linears().front())->view().group_size, 64);
}

TEST(RandomModel, LeavesNothingBehindOnErrors) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  const fs::path out = folder / "out";
  const auto write = [&](const fs::path& target) {
    write_random_model(folder.path(), {}, pool, target, false);
  };
  EXPECT_ERROR(write(out), HasSubstr("config.json"));

  Json config = tiny_config();
  config["intermediate_size"] = 48;  // no group of 32 fits
  write_file(folder / "config.json", config.dump());
  EXPECT_ERROR(write(out), AllOf(HasSubstr("down_proj"), HasSubstr("48")));
  EXPECT_FALSE(fs::exists(out));

  // Some 10^17 bytes of weights: found out before anything is made.
  config = tiny_config();
  config["hidden_size"] = 1 << 21;
  config["vocab_size"] = 1 << 25;
  write_file(folder / "config.json", config.dump());
  EXPECT_ERROR(write(out), HasSubstr("model.safetensors"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);

  const std::string before = read_file(make_tiny_model(folder, {}) / "model.safetensors");
  EXPECT_ERROR(write(folder / "model"), HasSubstr("exists"));
  EXPECT_EQ(read_file(folder / "model" / "model.safetensors"), before);
}

TEST(RandomModel, NeverReplacesTheModelWhoseConfigItTakes) {
  const TemporaryFolder folder;
  const fs::path model = make_tiny_model(folder, {});
  const std::string before = read_file(model / "model.safetensors");
  ThreadPool pool(1);
  for (const fs::path& config : {model, model / "config.json"}) {
    EXPECT_ERROR(write_random_model(config, {.seed = 9}, pool, model, true),
                 HasSubstr("replace the model"));
  }
  EXPECT_EQ(read_file(model / "model.safetensors"), before);
}

TEST(RandomModel, ReportsFallbacksOfTheGroupSize) {
  const TemporaryFolder folder;
  write_file(folder / "config.json", tiny_config().dump());
  ThreadPool pool(1);
  const RandomModelReport report =
      write_random_model(folder.path(), {}, pool, folder / "out", false);
  EXPECT_EQ(report.notes.size(), 2u);
  EXPECT_EQ(report.bytes_out,
            static_cast<std::int64_t>(fs::file_size(folder / "out" / "model.safetensors")));
}

}  // namespace
}  // namespace nibble
