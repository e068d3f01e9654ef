// The small model in data/ against an independent implementation's logits (fixtures/stories260K;
// float32 on weights rounded to bfloat16), with every kernel set of this machine.
#include "models/logits.h"
#include "paths.h"

namespace nibble {
namespace {

using test::every_row;
using test::expect_close_logits;
using test::Mode;
using test::reference_ids;
using test::Runner;

const std::string kModel = testing::data_file("stories260K");
const std::string kGoldens = testing::test_file("models/fixtures/stories260K/");
constexpr std::size_t kVocab = 512;

class Golden : public ::testing::TestWithParam<const KernelSet*> {
 protected:
  Runner runner(bool f32) const {
    return {kModel, Mode{.kernels = GetParam(),
                         .dtype = DType::kBF16,
                         .activations = f32 ? ActivationType::kF32 : ActivationType::kBF16}};
  }
  void expect_logits(bool f32) const {
    const double limit = f32 ? test::kF32Limit : test::kBF16Limit;
    const double margin = f32 ? test::kF32Margin : test::kBF16Margin;
    Runner model = runner(f32);
    expect_close_logits(model.logits(reference_ids(16, kVocab)),
                        NpyFile(kGoldens + "logits_t16.npy").floats(), kVocab, limit, margin);
    const std::vector<float> expected = NpyFile(kGoldens + "logits_t200_every_10th.npy").floats();
    const std::vector<float> found = model.logits(reference_ids(200, kVocab));
    expect_close_logits(every_row(found, kVocab, 9, 10), expected, kVocab, limit, margin);
    // One token at a time, and in odd steps.
    for (const std::size_t batch : {std::size_t{1}, std::size_t{7}}) {
      expect_close_logits(every_row(model.logits(reference_ids(200, kVocab), batch), kVocab, 9, 10),
                          expected, kVocab, limit, margin);
    }
  }
};

TEST_P(Golden, LogitsInFloat32) {
  expect_logits(true);
}

TEST_P(Golden, LogitsByDefault) {
  expect_logits(false);
}

TEST_P(Golden, GreedyInFloat32) {
  EXPECT_EQ(runner(true).greedy(reference_ids(16, kVocab), 32),
            NpyFile(kGoldens + "greedy_t16.npy").ints());
}

TEST_P(Golden, GreedyChoicesByDefaultOnTheReferencesPath) {
  const std::vector<std::int32_t> expected = NpyFile(kGoldens + "greedy_t16.npy").ints();
  const std::vector<float> margins = NpyFile(kGoldens + "greedy_margin_t16.npy").floats();
  const double close =
      0.04 * test::standard_deviation(NpyFile(kGoldens + "logits_t16.npy").floats());
  std::vector<std::int32_t> ids = reference_ids(16, kVocab);
  ids.insert(ids.end(), expected.begin(), expected.end());
  const std::vector<float> logits = runner(false).logits(ids);
  int compared = 0;
  for (std::size_t step = 0; step < expected.size(); ++step) {
    if (margins[step] < close) continue;
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>((15 + step) * kVocab);
    EXPECT_EQ(std::max_element(row, row + kVocab) - row, expected[step]) << "step " << step;
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

TEST_P(Golden, ThreadsDoNotChangeABit) {
  const auto logits = [](int threads) {
    return Runner(kModel, Mode{.kernels = GetParam(),
                               .activations = ActivationType::kBF16,
                               .threads = threads})
        .logits(reference_ids(70, kVocab), 33);
  };
  const std::vector<float> one = logits(1);
  EXPECT_EQ(logits(2), one);
  EXPECT_EQ(logits(3), one);
}

INSTANTIATE_TEST_SUITE_P(Kernels, Golden,
                         ::testing::ValuesIn(supported_kernels().begin(),
                                             supported_kernels().end()),
                         [](const auto& set) { return std::string(set.param->name); });

}  // namespace
}  // namespace nibble
