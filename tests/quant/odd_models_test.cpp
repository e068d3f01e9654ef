// Every calibrated method on models and texts that are odd: features that are never active,
// constants, groups of zeros, one token over and over, numbers that are none.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/edited_model.h"
#include "models/logits.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/pipeline.h"
#include "nibble/quant/transforms/awq.h"
#include "nibble/quant/transforms/smooth_quant.h"
#include "quant/stories.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::EditedModel;
using ::nibble::testing::Ids;
using ::nibble::testing::read_file;
using ::testing::HasSubstr;

struct OddCase {
  std::string name;
  QuantizeMethod (*make)();
  QuantizeOptions options = {.group_size = 32};

  friend void PrintTo(const OddCase& method, std::ostream* out) { *out << method.name; }
};

QuantizeMethod rounded_by(std::unique_ptr<Rounder> rounder) {
  return {.blocks = {.rounder = std::move(rounder)}};
}

QuantizeMethod transformed(std::shared_ptr<const Transform> transform,
                           std::unique_ptr<Rounder> rounder) {
  return {.blocks = {.transforms = {std::move(transform)},
                     .rounder = std::move(rounder),
                     .activations = ActivationType::kF32}};
}

std::shared_ptr<const Transform> make_awq_search() {
  return make_awq({}, std::make_shared<AwqSearch>());
}

QuantizeMethod learning_best() {
  QuantizeMethod method = rounded_by(make_best_rounder({.refinements = 1}));
  method.distillation = DistillationOptions{};
  return method;
}

const std::vector<OddCase>& odd_cases() {
  static const std::vector<OddCase> all = {
      {"gptq", [] { return rounded_by(make_gptq_rounder()); }},
      {"light", [] { return rounded_by(make_best_rounder({.compensates = false})); }},
      {"best", [] { return rounded_by(make_best_rounder({})); }},
      {"max", learning_best},
      {"awq", [] { return transformed(make_awq_search(), make_per_group_rounder()); }},
      {"awq_gptq", [] { return transformed(make_awq_search(), make_gptq_rounder()); }},
      {"awq_best", [] { return transformed(make_awq_search(), make_best_rounder({})); }},
      {"smoothquant",
       [] {
         return transformed(make_smooth_quant(0.5F, std::make_shared<ActivationMaxima>()),
                            make_per_group_rounder());
       },
       {.bits = 8}}};
  return all;
}

class OddModelsSlow : public ::testing::TestWithParam<OddCase> {
 protected:
  void quantize(const fs::path& model, const Ids& ids, const fs::path& out, int threads = 2) {
    const Checkpoint checkpoint(model);
    ThreadPool pool(threads);
    Compute compute(select_kernels(), pool);
    const QuantizePlan plan = plan_quantization(checkpoint.spec(), GetParam().options);
    quantize_model({.checkpoint = checkpoint,
                    .plan = plan,
                    .method = GetParam().make(),
                    .calibration = ids,
                    .to = {.path = out}},
                   compute);
  }

  /// That it still says about what the original does: by less than its logits' spread.
  static void expect_near(const fs::path& found, const fs::path& model) {
    const std::vector<std::int32_t> ids = test::reference_ids(40, 512);
    const std::vector<float> expected = test::Runner(model, {}).logits(ids);
    const std::vector<float> logits = test::Runner(found, {}).logits(ids);
    double squares = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      squares += std::pow(static_cast<double>(logits[i]) - expected[i], 2);
    }
    const double off = std::sqrt(squares / static_cast<double>(logits.size()));
    EXPECT_LT(off, test::standard_deviation(expected));  // false for NaN
  }

  /// Sets `count` elements of a tensor in bfloat16, from the first on, each `step` behind the last.
  static void set(EditedModel& model, const std::string& tensor, BFloat16 value, std::size_t count,
                  std::size_t step = 1) {
    std::string& bytes = model.bytes(tensor);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(bytes.data() + 2 * i * step, &value, sizeof(value));
    }
  }

  testing::TemporaryFolder folder_;
  EditedModel model_{kStories};
  const std::string block_ = "model.layers.1.";
};

TEST_P(OddModelsSlow, DeadAndConstantChannelsAndGroupsOfZeros) {
  const BFloat16 zero = to_bfloat16(0);
  const BFloat16 small = to_bfloat16(0.015625F);
  set(model_, block_ + "input_layernorm.weight", zero, 3);       // inputs never active
  set(model_, block_ + "mlp.up_proj.weight", zero, 64);          // nor this inner value
  set(model_, block_ + "self_attn.q_proj.weight", zero, 32);     // a group of zeros
  set(model_, block_ + "self_attn.o_proj.weight", small, 64);    // a row of one value
  set(model_, block_ + "mlp.down_proj.weight", small, 64, 192);  // a column
  const fs::path model = model_.write();
  for (const int threads : {1, 2, 3}) {
    const fs::path out = folder_ / std::to_string(threads);
    quantize(model, testing::story_blocks(0, 8, 64), out, threads);
    EXPECT_TRUE(read_file(out / "model.safetensors") ==
                read_file(folder_ / "1" / "model.safetensors"));
  }
  expect_near(folder_ / "1", model);
}

TEST_P(OddModelsSlow, OneTokenOverAndOver) {
  quantize(kStories, Ids(2, std::vector<std::int32_t>(16, 300)), folder_ / "out");
  const std::vector<float> logits =
      test::Runner(folder_ / "out", {}).logits(test::reference_ids(40, 512));
  for (const float logit : logits) ASSERT_TRUE(std::isfinite(logit));
}

TEST_P(OddModelsSlow, NumbersThatAreNoneAreRefused) {
  const BFloat16 nan = to_bfloat16(std::nanf(""));
  for (const char* tensor :
       {"mlp.down_proj.weight", "self_attn.k_proj.weight", "post_attention_layernorm.weight"}) {
    EditedModel model(kStories);
    set(model, block_ + tensor, nan, 1);
    const fs::path damaged = model.write();
    EXPECT_ERROR(quantize(damaged, testing::story_blocks(0, 4, 64), folder_ / "out"),
                 HasSubstr("finite"));
    EXPECT_TRUE(fs::is_empty(folder_.path())) << "nothing is left";
  }
}

INSTANTIATE_TEST_SUITE_P(All, OddModelsSlow, ::testing::ValuesIn(odd_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace nibble
