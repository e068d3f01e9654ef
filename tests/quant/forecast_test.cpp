#include "nibble/quant/forecast.h"

#include <gtest/gtest.h>

#include "core/temporary_folder.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/pipeline.h"
#include "quant/fixtures.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

struct ForecastCase {
  const char* name;
  fs::path model;
  QuantizeOptions options;
};

class Forecast : public ::testing::TestWithParam<ForecastCase> {};

TEST_P(Forecast, IsWhatIsWritten) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(GetParam().model);
  const QuantizePlan plan = plan_quantization(checkpoint.spec(), GetParam().options);
  const QuantizeForecast forecast = forecast_quantization(checkpoint, plan);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizeReport report = quantize_model(checkpoint, plan, compute, {.path = folder / "out"});
  const Inspection written = inspect(Checkpoint(folder / "out"), GetParam().options.dtype);
  EXPECT_EQ(forecast.bytes_out, written.bytes);
  EXPECT_DOUBLE_EQ(forecast.bits_per_weight, written.token.bits_per_weight());
  EXPECT_DOUBLE_EQ(forecast.bits_per_weight, report.bits_per_weight);
  ASSERT_EQ(forecast.tensors.size(), written.tensors.size());
  for (std::size_t i = 0; i < written.tensors.size(); ++i) {
    const StoredParameter& expected = forecast.tensors[i];
    const StoredParameter& found = written.tensors[i];
    EXPECT_EQ(expected.name, found.name);
    EXPECT_EQ(expected.shape, found.shape) << found.name;
    EXPECT_EQ(expected.format, found.format) << found.name;
    EXPECT_EQ(expected.group_size, found.group_size) << found.name;
    EXPECT_EQ(expected.bytes, found.bytes) << found.name;
    EXPECT_EQ(expected.is_quantized, found.is_quantized) << found.name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, Forecast,
    ::testing::Values(
        ForecastCase{"tied_w4", kStories, {}},
        ForecastCase{"tied_w3_head_dense", kStories, {.bits = 3, .quantize_head = false}},
        ForecastCase{"tied_embedding_int8", kStories, {.embedding = EmbeddingStorage::kInt8}},
        ForecastCase{"tied_embedding_in_head", kStories, {.embedding = EmbeddingStorage::kHead}},
        ForecastCase{"biases_f32_excluded",
                     kModels / "biases_f16",
                     {.bits = 8, .dtype = DType::kF32, .exclude = {"*.0.*"}}},
        ForecastCase{"opt", kModels / "architecture_opt", {.exclude = {"*"}}},
        ForecastCase{"gguf_untied", kModels / "gguf_mixed_gpt2/model.gguf", {.bits = 3}}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace nibble
