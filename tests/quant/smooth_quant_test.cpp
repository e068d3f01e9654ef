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
using ::nibble::testing::bfloat16_copy;
using ::nibble::testing::blocks_of;
using ::nibble::testing::Ids;
using ::nibble::testing::logits_distance;
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
             make_smooth_quant(0.5F, std::make_shared<const ActivationMaxima>(std::move(maxima)),
                               "maxima.pt"),
             options_, folder_ / "out");
  };
  ActivationMaxima of_one_block = read_activation_maxima(kMaxima);
  EXPECT_ERROR(
      apply(of_one_block),
      HasSubstr("maxima.pt: no maxima of the inputs of \"model.layers.1.self_attn.q_proj\""));
  of_one_block["model.layers.0.self_attn.q_proj"].resize(63);
  EXPECT_ERROR(apply(of_one_block),
               HasSubstr("maxima.pt: 63 maxima of the inputs of \"model.layers.0"));
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

/// Logits of all positions as the references have them: nothing is rounded but to the int8 that the
/// checkpoint asks for.
std::vector<float> logits_in_float32(const fs::path& model, DType dtype,
                                     const std::vector<std::int32_t>& ids) {
  const Checkpoint checkpoint(model);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  Decoder decoder(checkpoint, compute, dtype, {});
  const ModelSpec& spec = decoder.spec();
  KvCache cache({spec.n_layers, spec.n_kv_heads, spec.head_dim, std::ssize(ids)}, KvType::kF32);
  std::vector<float> hidden(ids.size() * static_cast<std::size_t>(spec.hidden));
  decoder.forward(compute, ids, cache, hidden.data());
  // The decoder would round the input of a head that has no activations of its own to bfloat16.
  Decoder exact(checkpoint, compute, dtype, ActivationType::kF32);
  std::vector<float> logits(ids.size() * static_cast<std::size_t>(spec.vocab));
  exact.logits(compute, hidden.data(), std::ssize(ids), logits.data());
  return logits;
}

class SmoothQuantGoldens : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const char* shared = std::getenv("NIBBLE_SHARED");
    if (shared == nullptr) GTEST_SKIP() << "NIBBLE_SHARED names no folder of larger test files";
    goldens_ = fs::path(shared) / "goldens" / GetParam();
    model_ = bfloat16_copy(fs::path(shared) / "models" / GetParam(), folder_ / "model");
  }

  /// Quantizes the model and gives its logits.
  std::vector<float> run(const std::string& precision, DType dtype) {
    QuantizeOptions options{.bits = 8, .dtype = dtype, .quantize_head = false};
    if (precision == "w8a8") options.activations = ActivationType::kInt8;
    out_ = folder_ / (precision + std::string(dtype_name(dtype)));
    quantize(model_, blocks_of(NpyFile(goldens_ / "calibrated" / "calibration_ids.npy")),
             make_smooth_quant(0.5F, std::make_shared<ActivationMaxima>()), options, out_);
    return logits_in_float32(out_, dtype, NpyFile(goldens_ / "ids_t200.npy").ints());
  }
  std::vector<float> golden(const std::string& precision) const {
    return NpyFile(goldens_ / "calibrated" / ("smoothquant_" + precision + "_logits_t200.npy"))
        .floats();
  }
  void expect_integers(const std::string& layer, const Checkpoint& out) const {
    const std::string name = layer.substr(layer.rfind('.') + 1);
    const NpyFile expected(goldens_ / "calibrated" / ("smoothquant_" + name + "_q.npy"));
    const std::vector<std::uint8_t> q = packed_integers(out, layer).q;
    ASSERT_EQ(expected.view().bytes, q.size());
    std::size_t others = 0;
    for (std::size_t i = 0; i < q.size(); ++i) {
      others += static_cast<int>(expected.view().data[i]) != ((q[i] - 128) & 255) ? 1 : 0;
    }
    EXPECT_EQ(others, 0U) << layer;
  }

  TemporaryFolder folder_;
  fs::path goldens_;
  fs::path model_;
  fs::path out_;
};

TEST_P(SmoothQuantGoldens, AreFoundAgain) {
  for (const std::string precision : {"w8a8", "w8a16"}) {
    const std::vector<float> expected = golden(precision);
    EXPECT_LT(logits_distance(run(precision, DType::kF32), expected),
              0.005 * test::standard_deviation(expected))
        << precision;
    const Checkpoint out(out_);
    for (const ModuleRole role : {ModuleRole::kQ, ModuleRole::kO, ModuleRole::kDown}) {
      expect_integers(out.spec().block_module(role, 0), out);
    }
  }
}

// Norms in bfloat16 are what the references do not have. Rounding moves a norm, and so what goes
// into the layers behind it, by 0.0014 of itself in the mean (2^-9 of the power of 2 below). With
// activations in float32 that is all.
// In int8 an input of d steps is moved by 0.0014 d, and where it comes to lie beyond the middle
// between two, it is rounded to the other: the rounding error changes by a square of 0.0014 d in
// the mean, beside 1/12 that it has. The mean d is about 38 of 127 (values as a normal distribution
// has them, the largest at 2.7 deviations): the change has sqrt(12 * 0.0014 * 38) = 0.8 of the size
// of the rounding error, and moves logits by no more than int8 itself does.
TEST_P(SmoothQuantGoldens, AreNearWithNormsInBFloat16) {
  const std::vector<float> w8a16 = golden("w8a16");
  const std::vector<float> w8a8 = golden("w8a8");
  const double norms = 0.005 * test::standard_deviation(w8a16);
  const double int8 = logits_distance(w8a8, w8a16);
  EXPECT_LT(logits_distance(run("w8a16", DType::kBF16), w8a16), norms);
  EXPECT_LT(logits_distance(run("w8a8", DType::kBF16), w8a8), norms + int8);
}

INSTANTIATE_TEST_SUITE_P(All, SmoothQuantGoldens,
                         ::testing::Values("stories260K", "tiny-llama2", "tiny-llama3",
                                           "tiny-qwen2", "tiny-opt"));

}  // namespace
}  // namespace nibble
