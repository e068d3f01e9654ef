// Quantizing by calibration: what rounders are told of inputs, what comes of it, and what is
// refused.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "bench/tiny_model.h"
#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/architecture_configs.h"
#include "models/logits.h"
#include "nibble/ops/input_observer.h"
#include "nibble/quant/pipeline.h"
#include "quant/fixtures.h"
#include "quant/stories.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::make_tiny_model;
using ::nibble::testing::read_file;
using ::nibble::testing::TemporaryFolder;
using ::testing::HasSubstr;

using testing::divergence;
using testing::Ids;
using testing::story_blocks;

/// Rounds per group and notes what it was told, one entry a group of layers.
class Spy : public Rounder {
 public:
  explicit Spy(InputNeeds needs) : needs_(needs) {}
  InputNeeds needs() const override { return needs_; }
  std::unique_ptr<RowRounder> prepare(Compute& compute, InputStatistics statistics) const override {
    seen.push_back(std::move(statistics));
    return make_per_group_rounder()->prepare(compute, {});
  }
  mutable std::vector<InputStatistics> seen;

 private:
  InputNeeds needs_;
};

/// The inputs of each group of layers in the order of the forward pass, rows of all passes.
class InputRows : public InputObserver {
 public:
  void observe(const ObservedInput& input) override {
    const WeightView* layer = input.calls[0].weight;
    if (!rows_.contains(layer)) order_.push_back(layer);
    rows_[layer].insert(rows_[layer].end(), input.x, input.x + input.tokens * input.features);
  }
  std::vector<std::vector<float>> rows() {
    std::vector<std::vector<float>> all;
    for (const WeightView* layer : order_) all.push_back(rows_[layer]);
    return all;
  }

 private:
  std::vector<const WeightView*> order_;
  std::map<const WeightView*, std::vector<float>> rows_;
};

std::vector<std::vector<float>> inputs_of(const fs::path& model, const Ids& ids) {
  test::Runner runner(model, {});
  InputRows rows;
  runner.compute().set_input_observer(&rows);
  for (const std::vector<std::int32_t>& block : ids) runner.logits(block);
  return rows.rows();
}

/// sum over the tokens of x[i] y[j].
double product(const std::vector<float>& x, const std::vector<float>& y, std::size_t cols,
               std::size_t i, std::size_t j) {
  double sum = 0;
  for (std::size_t at = 0; at < x.size(); at += cols) {
    sum += static_cast<double>(round_to_bfloat16(x[at + i])) * round_to_bfloat16(y[at + j]);
  }
  return sum;
}

class CalibratedArchitecture : public ::testing::TestWithParam<Json> {};

// With activations in float32 nothing is lost between blocks: what a rounder is told must be what
// goes into the layers of the finished model, and of the one that it is made from.
TEST_P(CalibratedArchitecture, RoundersAreToldWhatLayersReallyGet) {
  const TemporaryFolder folder;
  const fs::path path = make_tiny_model(folder, {.bits = 16}, GetParam());
  const Checkpoint checkpoint(path);
  const Ids ids = {test::reference_ids(20, 101), std::vector<std::int32_t>(20, 3)};
  const auto spy = std::make_shared<Spy>(InputNeeds::kCross);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizePlan plan = plan_quantization(checkpoint.spec(), {.bits = 3, .group_size = 32});
  quantize_model({.checkpoint = checkpoint,
                  .plan = plan,
                  .method = {.algorithm = "spy",
                             .blocks = {.rounder = spy, .activations = ActivationType::kF32}},
                  .calibration = ids,
                  .to = {.path = folder / "out"}},
                 compute);
  std::vector<std::vector<float>> original = inputs_of(path, ids);
  std::vector<std::vector<float>> quantized = inputs_of(folder / "out", ids);
  if (checkpoint.spec().project_in) {  // is not told of
    original.erase(original.begin());
    quantized.erase(quantized.begin());
  }
  ASSERT_EQ(spy->seen.size(), static_cast<std::size_t>(4 * checkpoint.spec().n_layers +
                                                       (checkpoint.spec().project_out ? 0 : 1)));
  for (std::size_t group = 0; group < spy->seen.size(); ++group) {
    SCOPED_TRACE(group);
    const InputStatistics& told = spy->seen[group];
    const std::size_t cols = told.squares.size();
    ASSERT_EQ(quantized[group].size(), cols * 40);
    double largest = 0;
    for (std::size_t i = 0; i < cols; ++i) {
      largest = std::max(largest, product(quantized[group], quantized[group], cols, i, i));
    }
    // A projection before the blocks is packed in the finished model only.
    const double bound = (checkpoint.spec().project_in ? 0.2 : 1e-2) * largest;
    for (std::size_t i = 0; i < cols; i += 7) {
      for (std::size_t j = 0; j < cols; j += 5) {
        const auto at = [&](const Matrix<float>& sums) {
          return sums(static_cast<std::int64_t>(i), static_cast<std::int64_t>(j));
        };
        ASSERT_NEAR(at(told.products), product(quantized[group], quantized[group], cols, i, j),
                    bound);
        ASSERT_NEAR(at(told.cross), product(original[group], quantized[group], cols, i, j), bound);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CalibratedArchitecture,
                         ::testing::ValuesIn(testing::architecture_configs()));

class Stories : public ::testing::Test {
 protected:
  QuantizeReport quantize(const fs::path& out, std::shared_ptr<const Rounder> rounder,
                          const QuantizeOptions& options, int threads = 2) {
    const Checkpoint checkpoint(kStories);
    ThreadPool pool(threads);
    Compute compute(select_kernels(), pool);
    const QuantizePlan plan = plan_quantization(checkpoint.spec(), options);
    return quantize_model(
        {.checkpoint = checkpoint,
         .plan = plan,
         .method = {.algorithm = "best", .blocks = {.rounder = std::move(rounder)}},
         .calibration = story_blocks(0, 24, 128),
         .to = {.path = out}},
        compute);
  }

  TemporaryFolder folder_;
};

TEST_F(Stories, EachPartOfBestBringsTheModelNearer) {
  const QuantizeOptions options{.bits = 3, .group_size = 32};
  const std::vector<std::pair<std::string, std::shared_ptr<const Rounder>>> rounders = {
      {"per_group", make_per_group_rounder()},
      {"light", make_best_rounder({.compensates = false})},
      {"compensating", make_best_rounder({.refinements = 0, .correction = 0})},
      {"best", make_best_rounder({})}};
  double before = 1e9;
  for (const auto& [name, rounder] : rounders) {
    quantize(folder_ / name, rounder, options);
    const double found = divergence(folder_ / name);
    EXPECT_LT(found, before) << name;
    before = found;
  }
}

TEST_F(Stories, BytesDoNotDependOnThreads) {
  for (const int threads : {1, 2, 3}) {
    const fs::path out = folder_ / std::to_string(threads);
    quantize(out, make_best_rounder({}), {.group_size = 32}, threads);
    EXPECT_EQ(read_file(out / "model.safetensors"), read_file(folder_ / "1" / "model.safetensors"));
  }
}

TEST_F(Stories, LayersThatAreExcludedAndTheHeadStayAsTheyAre) {
  const QuantizeReport report =
      quantize(folder_ / "out", make_best_rounder({}),
               {.group_size = 32, .quantize_head = false, .exclude = {"*.1.self_attn.*"}});
  const Checkpoint out(folder_ / "out");
  std::size_t packed = 0;
  for (const LinearSpec& linear : out.spec().linears()) {
    const bool stays = linear.name == "lm_head" || linear.name.find(".1.self") != std::string::npos;
    EXPECT_EQ(out.packed_weight(linear).has_value(), !stays) << linear.name;
    packed += stays ? 0 : 1;
  }
  EXPECT_EQ(report.tensors.size(), packed);
  EXPECT_LT(divergence(folder_ / "out"), 0.1);
}

TEST_F(Stories, CalibrationThatDoesNotFitIsRefused) {
  const Checkpoint checkpoint(kStories);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizePlan plan = plan_quantization(checkpoint.spec(), {.group_size = 32});
  QuantizeJob job{.checkpoint = checkpoint,
                  .plan = plan,
                  .method = {.algorithm = "gptq", .blocks = {.rounder = make_gptq_rounder()}},
                  .to = {.path = folder_ / "out"}};
  EXPECT_ERROR(quantize_model(job, compute), HasSubstr("takes calibration text"));
  job.calibration = {std::vector<std::int32_t>(10000, 1)};
  EXPECT_ERROR(quantize_model(job, compute), HasSubstr("longer than the context of 512"));
  job.calibration = {{1, 2, 512}};
  EXPECT_ERROR(quantize_model(job, compute), HasSubstr("token id 512"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

}  // namespace
}  // namespace nibble
