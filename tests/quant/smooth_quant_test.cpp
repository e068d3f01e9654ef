// SmoothQuant against torch (fixtures/transforms/make_fixtures.py; where NIBBLE_SHARED has them,
// larger references), and its maxima in files.
#include "nibble/quant/transforms/smooth_quant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/logits.h"
#include "nibble/formats/npy.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/quant/pipeline.h"
#include "paths.h"
#include "quant/fixtures.h"
#include "quant/packed_integers.h"
#include "quant/transform_fixtures.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::blocks_of;
using ::nibble::testing::Ids;
using ::nibble::testing::packed_integers;
using ::nibble::testing::read_file;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::transform_fixture;
using ::testing::HasSubstr;

const fs::path kMaxima = testing::test_file("quant/fixtures/transforms/act_scales.pt");

void quantize(const fs::path& model, const Ids& ids, std::shared_ptr<const Transform> transform,
              const QuantizeOptions& options, const fs::path& out) {
  const Checkpoint checkpoint(model);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizePlan plan = plan_quantization(checkpoint.spec(), options);
  quantize_model({.checkpoint = checkpoint,
                  .plan = plan,
                  .method = {.algorithm = "smoothquant",
                             .blocks = {.transforms = {std::move(transform)},
                                        .rounder = make_per_group_rounder(),
                                        .activations = ActivationType::kF32}},
                  .calibration = ids,
                  .to = {.path = out}},
                 compute);
}

class SmoothQuantTest : public ::testing::Test {
 protected:
  std::shared_ptr<ActivationMaxima> calibrate(const QuantizeOptions& options, const fs::path& out) {
    auto found = std::make_shared<ActivationMaxima>();
    quantize(kStories, blocks_of(transform_fixture("ids.npy")), make_smooth_quant(0.5F, found),
             options, out);
    return found;
  }

  const QuantizeOptions options_ = {.bits = 8, .quantize_head = false};
  TemporaryFolder folder_;
};

TEST_F(SmoothQuantTest, ScalesAndIntegersAreTheReferences) {
  const auto found = calibrate(options_, folder_ / "out");
  const ActivationMaxima expected = read_activation_maxima(kMaxima);
  EXPECT_EQ(found->size(), 25U);  // of 5 blocks
  for (const auto& [name, maxima] : expected) {
    const std::vector<float>& ours = found->at(name);
    ASSERT_EQ(ours.size(), maxima.size());
    for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i] / maxima[i], 1, 1e-5);
  }
  // The norms hold what they are divided by, in bfloat16.
  const Checkpoint out(folder_ / "out");
  const Checkpoint original(kStories);
  const std::vector<float> scales = transform_fixture("smooth_scales.npy").floats();
  for (const int group : {0, 1}) {
    const std::string name = group == 0 ? "model.layers.0.input_layernorm.weight"
                                        : "model.layers.0.post_attention_layernorm.weight";
    std::vector<float> before(64);
    std::vector<float> after(64);
    read_vector(original.float_tensor(name, {64}), before);
    read_vector(out.float_tensor(name, {64}), after);
    for (std::size_t i = 0; i < 64; ++i) {
      const float scale = scales[static_cast<std::size_t>(group) * 64 + i];
      EXPECT_NEAR(after[i] * scale / round_to_bfloat16(before[i]), 1, 0x1p-8);
    }
  }
  EXPECT_EQ(packed_integers(out, "model.layers.0.self_attn.q_proj").q,
            transform_fixture("smooth_q_proj_q.npy").bytes());
}

TEST_F(SmoothQuantTest, MaximaThatAreKnownNeedNoCalibration) {
  const auto found = calibrate(options_, folder_ / "searched");
  write_activation_maxima(folder_ / "maxima.safetensors", *found);
  const auto maxima = std::make_shared<const ActivationMaxima>(
      read_activation_maxima(folder_ / "maxima.safetensors"));
  EXPECT_EQ(*maxima, *found);
  quantize(kStories, {}, make_smooth_quant(0.5F, maxima), options_, folder_ / "applied");
  EXPECT_EQ(read_file(folder_ / "applied" / "model.safetensors"),
            read_file(folder_ / "searched" / "model.safetensors"));
}

TEST_F(SmoothQuantTest, MaximaThatAreMissingOrDoNotFitAreRefused) {
  const auto apply = [&](ActivationMaxima maxima) {
    quantize(kStories, {},
             make_smooth_quant(0.5F, std::make_shared<const ActivationMaxima>(std::move(maxima))),
             options_, folder_ / "out");
  };
  ActivationMaxima of_one_block = read_activation_maxima(kMaxima);
  EXPECT_ERROR(apply(of_one_block),
               HasSubstr("no maxima of the inputs of \"model.layers.1.self_attn.q_proj\""));
  of_one_block["model.layers.0.self_attn.q_proj"].resize(63);
  EXPECT_ERROR(apply(of_one_block), HasSubstr("63 maxima of the inputs of \"model.layers.0"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));

  const auto read = [&](float value, std::vector<std::int64_t> shape) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    SafetensorsWriter writer(folder_ / "bad.safetensors", {{"layer", DType::kF32, shape}});
    const std::vector<float> values(count, value);
    writer.append("layer", std::as_bytes(std::span(values)));
    writer.commit();
    read_activation_maxima(folder_ / "bad.safetensors");
  };
  EXPECT_ERROR(read(-1, {4}), HasSubstr("a maximum of \"layer\" is no number of 0 or more"));
  EXPECT_ERROR(read(NAN, {4}), HasSubstr("a maximum of \"layer\""));
  EXPECT_ERROR(read(1, {4, 2}), HasSubstr("\"layer\" is no vector of floats but of shape [4, 2]"));
}

TEST_F(SmoothQuantTest, AMatrixMayHaveOneScale) {
  QuantizeOptions options = options_;
  options.shares_scale = true;
  options.activations = ActivationType::kInt8Tensor;
  calibrate(options, folder_ / "out");
  const Checkpoint out(folder_ / "out");
  const testing::PackedIntegers integers = packed_integers(out, "model.layers.0.self_attn.q_proj");
  for (const float scale : integers.scales) EXPECT_EQ(scale, integers.scales[0]);
  const auto [least, largest] = std::minmax_element(integers.q.begin(), integers.q.end());
  EXPECT_EQ(std::max(*largest - 128, 128 - *least), 127);
  for (const LinearSpec& linear : out.spec().linears()) {
    const bool is_head = linear.name == out.spec().head.name;
    EXPECT_EQ(out.activations(linear, {}),
              is_head ? ActivationType::kBF16 : ActivationType::kInt8Tensor);
  }
}

class SmoothQuantGoldens : public ::testing::TestWithParam<const char*> {};

TEST_P(SmoothQuantGoldens, AreFoundAgain) {
  const char* shared = std::getenv("NIBBLE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "NIBBLE_SHARED names no folder of larger test files";
  const fs::path goldens = fs::path(shared) / "goldens" / GetParam();
  const fs::path calibrated = goldens / "calibrated";
  const Ids ids = blocks_of(NpyFile(calibrated / "calibration_ids.npy"));
  const TemporaryFolder folder;
  for (const bool int8 : {true, false}) {
    const std::string precision = int8 ? "w8a8" : "w8a16";
    QuantizeOptions options{.bits = 8, .quantize_head = false};
    if (int8) options.activations = ActivationType::kInt8;
    quantize(fs::path(shared) / "models" / GetParam(), ids,
             make_smooth_quant(0.5F, std::make_shared<ActivationMaxima>()), options,
             folder / precision);
    const Checkpoint out(folder / precision);
    for (const ModuleRole role : {ModuleRole::kQ, ModuleRole::kO, ModuleRole::kDown}) {
      const std::string layer = out.spec().block_module(role, 0);
      const std::string name = layer.substr(layer.rfind('.') + 1);
      SCOPED_TRACE(layer);
      const NpyFile expected(calibrated / ("smoothquant_" + name + "_q.npy"));
      const std::vector<std::uint8_t> q = packed_integers(out, layer).q;
      ASSERT_EQ(expected.view().bytes, q.size());
      std::size_t others = 0;
      for (std::size_t i = 0; i < q.size(); ++i) {
        others += static_cast<int>(expected.view().data[i]) != ((q[i] - 128) & 255) ? 1 : 0;
      }
      EXPECT_EQ(others, 0U);
    }
    test::Runner model(folder / precision,
                       {.activations = int8 ? std::nullopt : std::optional(ActivationType::kF32)});
    const NpyFile expected(calibrated / ("smoothquant_" + precision + "_logits_t200.npy"));
    const std::vector<float> reference = expected.floats();
    const std::vector<float> logits = model.logits(NpyFile(goldens / "ids_t200.npy").ints());
    double squares = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
      const std::size_t at = logits.size() - reference.size() + i;
      squares += std::pow(static_cast<double>(logits[at]) - reference[i], 2);
    }
    const double off = std::sqrt(squares / static_cast<double>(reference.size()));
    EXPECT_LT(off, 0.01 * test::standard_deviation(reference)) << precision;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SmoothQuantGoldens,
                         ::testing::Values("stories260K", "tiny-llama2", "tiny-llama3",
                                           "tiny-qwen2", "tiny-opt"));

}  // namespace
}  // namespace nibble
