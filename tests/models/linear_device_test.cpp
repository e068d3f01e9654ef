// Models of every architecture through a device of linear layers that is not the CPU's kernels.
#include "nibble/ops/linear_device.h"

#include "models/fixtures.h"
#include "models/logits.h"
#include "ops/float64_device.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::every_row;
using test::Mode;
using test::reference_ids;
using test::Runner;

/// A model, and the dtype and name of the logits that transformers gave for it.
struct DeviceCase {
  const char* name;
  DType dtype = DType::kBF16;
  const char* logits = "logits_bf16.npy";
};

class ModelOnADevice : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(ModelOnADevice, GivesTheReferencesLogits) {
  const fs::path folder = kFixtures / GetParam().name;
  const std::vector<float> expected = NpyFile(folder / GetParam().logits).floats();
  Runner model(folder, Mode{.dtype = GetParam().dtype, .activations = ActivationType::kF32});
  test::Float64Device device;
  model.compute().set_device(device);
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  const std::vector<std::int32_t> ids = reference_ids(40, model.spec().vocab);
  const std::vector<float> found = model.logits(ids);
  EXPECT_EQ(device.products_done(), std::ssize(model.spec().linears()));
  test::expect_close_logits(every_row(found, vocab, 4, 5), expected, vocab, test::kF32Limit,
                            test::kF32Margin);
  EXPECT_NE(found, Runner(folder, Mode{.dtype = GetParam().dtype}).logits(ids));
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, ModelOnADevice,
    ::testing::Values(
        DeviceCase{"untied_gqa"}, DeviceCase{"biases_f16"}, DeviceCase{"head_dim_sharded"},
        DeviceCase{"architecture_opt"}, DeviceCase{"architecture_opt_post_norm"},
        DeviceCase{"architecture_opt_bare"}, DeviceCase{"architecture_qwen2_window"},
        DeviceCase{"architecture_qwen2_layer_types"}, DeviceCase{"architecture_mistral_window"},
        DeviceCase{"architecture_mistral_no_window"}, DeviceCase{"architecture_qwen3"},
        DeviceCase{"architecture_qwen3_window"}, DeviceCase{"architecture_gemma"},
        DeviceCase{"quantized/awq_g32", DType::kF32, "logits_f32.npy"},
        DeviceCase{"quantized/gptq4_g32_act", DType::kF32, "logits_f32.npy"},
        DeviceCase{"quantized/gptq8_g32_act", DType::kF32, "logits_f32.npy"},
        DeviceCase{"quantized/ct_w3_g32_asym", DType::kF32, "logits_f32.npy"},
        DeviceCase{"quantized/ct_w8a8", DType::kF32, "logits_f32.npy"}),
    [](const auto& test_case) {
      const std::string name = test_case.param.name;
      return name.substr(name.find('/') + 1);
    });

}  // namespace
}  // namespace nibble
