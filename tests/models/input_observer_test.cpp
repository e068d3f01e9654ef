// An observer of inputs sees each linear layer of a model once a pass, and changes nothing.
#include "nibble/ops/input_observer.h"

#include <map>

#include "models/fixtures.h"
#include "models/logits.h"

namespace nibble {
namespace {

using test::Mode;
using test::reference_ids;
using test::Runner;

/// Counts the inputs of each set of layers that share one.
class Counter : public InputObserver {
 public:
  void observe(const ObservedInput& input) override {
    std::vector<const WeightView*> together;
    for (const MatmulCall& call : input.calls) together.push_back(call.weight);
    ++passes_[together];
    tokens_ += input.tokens;
    features_ += input.features;
    last_.assign(input.x, input.x + input.tokens * input.features);
  }

  const std::map<std::vector<const WeightView*>, int>& passes() const { return passes_; }
  std::int64_t tokens() const { return tokens_; }
  std::int64_t features() const { return features_; }
  const std::vector<float>& last() const { return last_; }

 private:
  std::map<std::vector<const WeightView*>, int> passes_;
  std::int64_t tokens_ = 0;
  std::int64_t features_ = 0;
  std::vector<float> last_;
};

class ModelInputs : public ::testing::TestWithParam<const char*> {};

TEST_P(ModelInputs, AreSeenOnce) {
  const Mode mode{.activations = ActivationType::kBF16};
  Runner plain(kFixtures / GetParam(), mode);
  const std::vector<std::int32_t> ids = reference_ids(13, plain.spec().vocab);
  const std::vector<float> expected = plain.logits(ids);

  Runner watched(kFixtures / GetParam(), mode);
  const ModelSpec& spec = watched.spec();
  Counter counter;
  watched.compute().set_input_observer(&counter);
  EXPECT_EQ(watched.logits(ids), expected);

  // q k v, o, gate up or up, down of each block; the head; projections of embeddings.
  const std::int64_t outside = 1 + (spec.project_in ? 1 : 0) + (spec.project_out ? 1 : 0);
  EXPECT_EQ(std::ssize(counter.passes()), 4 * spec.n_layers + outside);
  std::size_t layers = 0;
  for (const auto& [together, passes] : counter.passes()) {
    EXPECT_EQ(passes, 1);
    layers += together.size();
  }
  EXPECT_EQ(layers, spec.linears().size());
  EXPECT_EQ(counter.tokens(), 13 * std::ssize(counter.passes()));
  std::int64_t features = spec.head.in;
  if (spec.project_in) features += spec.project_in->in;
  if (spec.project_out) features += spec.project_out->in;
  features += spec.n_layers * (spec.q.in + spec.o.in + spec.up.in + spec.down.in);
  EXPECT_EQ(counter.features(), features);
  EXPECT_EQ(std::ssize(counter.last()), 13 * spec.head.in);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ModelInputs,
                         ::testing::Values("untied_gqa", "biases_f16", "architecture_opt",
                                           "architecture_opt_post_norm", "architecture_qwen3",
                                           "architecture_gemma", "quantized/gptq4_g32_act",
                                           "quantized/gptq4_g16"),
                         [](const auto& test_case) {
                           std::string name = test_case.param;
                           return name.substr(name.find('/') + 1);
                         });

}  // namespace
}  // namespace nibble
