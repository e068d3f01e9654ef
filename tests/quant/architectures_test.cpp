// What works on linear layers and parameters works for every architecture: random models, their
// inspection, quantizing, and the run of what came out.
#include <gtest/gtest.h>

#include <cmath>

#include "bench/tiny_model.h"
#include "models/architecture_configs.h"
#include "models/logits.h"
#include "nibble/models/parameters.h"
#include "nibble/quant/pipeline.h"
#include "quant/dequantized_model.h"

namespace nibble {
namespace {

using testing::make_tiny_model;
using testing::TemporaryFolder;

class EveryArchitecture : public ::testing::TestWithParam<Json> {};

TEST_P(EveryArchitecture, RandomModelsOfAnyPrecisionRun) {
  for (const int bits : {16, 8, 4, 3}) {
    const TemporaryFolder folder;
    const auto path = make_tiny_model(folder, {.bits = bits, .group_size = 32}, GetParam());
    test::Runner model(path, {});
    const std::vector<float> logits = model.logits(test::reference_ids(20, 101));
    EXPECT_GT(test::standard_deviation(logits), 0);  // false for NaN
  }
}

TEST_P(EveryArchitecture, QuantizedModelsGiveTheLogitsOfTheirDequantizedWeights) {
  const TemporaryFolder folder;
  const Checkpoint dense(make_tiny_model(folder, {.bits = 16}, GetParam()));
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizePlan plan = plan_quantization(dense.spec(), {.group_size = 32});
  const QuantizeReport report = quantize_model(dense, plan, compute, {.path = folder / "packed"});
  EXPECT_EQ(report.tensors.size(), dense.spec().linears().size());
  testing::write_dequantized(folder / "packed", folder / "dequantized");
  test::Runner packed(folder / "packed", {.dtype = DType::kF32});
  test::Runner expected(folder / "dequantized", {.dtype = DType::kF32});
  const std::vector<std::int32_t> ids = test::reference_ids(20, 101);
  for (const std::size_t batch : {std::size_t{0}, std::size_t{1}}) {
    test::expect_close_logits(packed.logits(ids, batch), expected.logits(ids), 101, 2e-6, 1e-4);
  }
}

// A model of norms that multiply by 1 and random matrices of this spread keeps activations finite
// and about 1: that a random model's norms say so is a matter of the architecture.
TEST_P(EveryArchitecture, NormsOfRandomModelsMultiplyByOne) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {.bits = 16}, GetParam()));
  for (const Parameter& parameter : parameters_of(checkpoint.spec())) {
    if (parameter.module.kind != ModuleKind::kNorm) continue;
    std::vector<float> values(static_cast<std::size_t>(parameter.shape[0]));
    read_vector(checkpoint.tensor(parameter.name, parameter.shape), values);
    for (const float value : values) {
      EXPECT_EQ(value + (parameter.is_bias ? 1 : checkpoint.spec().norm.weight_offset), 1)
          << parameter.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryArchitecture,
                         ::testing::ValuesIn(testing::architecture_configs()));

}  // namespace
}  // namespace nibble
