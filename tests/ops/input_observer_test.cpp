// What an observer of inputs is shown by matmul() and gated_matmul().
#include "nibble/ops/input_observer.h"

#include <gtest/gtest.h>

#include "kernels/test_matrix.h"
#include "nibble/kernels/select.h"
#include "nibble/ops/matmul.h"
#include "ops/random_rows.h"

namespace nibble {
namespace {

using test::make_matrix;
using test::random_rows;
using test::TestMatrix;

constexpr std::int64_t kCols = 64;

/// Keeps all that it sees.
class Recorder : public InputObserver {
 public:
  struct Seen {
    std::vector<float> x;
    std::int64_t tokens;
    std::int64_t features;
    std::vector<const WeightView*> weights;
  };

  void observe(const ObservedInput& input) override {
    Seen seen{.x = {input.x, input.x + input.tokens * input.features},
              .tokens = input.tokens,
              .features = input.features,
              .weights = {}};
    for (const MatmulCall& call : input.calls) seen.weights.push_back(call.weight);
    seen_.push_back(std::move(seen));
  }
  const std::vector<Seen>& seen() const { return seen_; }

 private:
  std::vector<Seen> seen_;
};

class Observer : public ::testing::TestWithParam<ActivationType> {
 protected:
  TestMatrix matrix(WeightFormat format, std::int64_t rows, int group_size = 0) {
    return make_matrix({format, rows, kCols, group_size}, random_);
  }
  std::vector<float> normed(const RowNorm& norm, const std::vector<float>& x) const {
    std::vector<float> out(x.size());
    for (std::size_t at = 0; at < x.size(); at += kCols) {
      normalize_row(compute_.kernels(), norm, x.data() + at, kCols, out.data() + at);
    }
    return out;
  }

  std::mt19937 random_{3};
  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
  std::vector<float> weight_ = random_rows(kCols, random_);
  std::vector<float> bias_ = random_rows(kCols, random_);
  RowNorm norm_{NormKind::kLayer, {weight_.data(), bias_.data(), 1e-5F}};
};

TEST_P(Observer, SeesASharedInputOnceBehindItsNorm) {
  const TestMatrix q = matrix(WeightFormat::kW4, 40, 32);
  const TestMatrix k = matrix(WeightFormat::kBF16, 7);
  for (const std::int64_t tokens : {1, 5, 40}) {
    const std::vector<float> x = random_rows(tokens * kCols, random_);
    for (const bool with_norm : {false, true}) {
      const auto run = [&] {
        std::vector<float> out(static_cast<std::size_t>(tokens * 47), 1.0F);
        const MatmulCall calls[] = {
            {.weight = &q.view, .out = out.data(), .adds = true, .activations = GetParam()},
            {.weight = &k.view,
             .out = out.data() + tokens * 40,
             .bias = bias_.data(),
             .activations = GetParam()}};
        matmul(compute_, {x.data(), tokens, with_norm ? &norm_ : nullptr}, calls);
        return out;
      };
      const std::vector<float> unseen = run();
      Recorder recorder;
      compute_.set_input_observer(&recorder);
      EXPECT_EQ(run(), unseen);
      compute_.set_input_observer(nullptr);
      EXPECT_EQ(run(), unseen);
      ASSERT_EQ(recorder.seen().size(), 1u);
      const Recorder::Seen& seen = recorder.seen()[0];
      EXPECT_EQ(seen.x, with_norm ? normed(norm_, x) : x);
      EXPECT_EQ(seen.tokens, tokens);
      EXPECT_EQ(seen.features, kCols);
      EXPECT_EQ(seen.weights, (std::vector<const WeightView*>{&q.view, &k.view}));
    }
  }
}

TEST_P(Observer, SeesTheInputOfGatedLayersOnce) {
  const TestMatrix gate = matrix(WeightFormat::kW4, 40, 64);
  const TestMatrix up = matrix(WeightFormat::kW3, 40, 32);
  const std::vector<float> x = random_rows(9 * kCols, random_);
  const auto run = [&] {
    std::vector<float> out(9 * 40);
    gated_matmul(compute_, {x.data(), 9, &norm_},
                 {.weight = &gate.view,
                  .out = nullptr,
                  .activation = Activation::kSilu,
                  .activations = GetParam()},
                 {.weight = &up.view, .out = nullptr, .activations = GetParam()}, out.data());
    return out;
  };
  const std::vector<float> unseen = run();
  Recorder recorder;
  compute_.set_input_observer(&recorder);
  EXPECT_EQ(run(), unseen);
  ASSERT_EQ(recorder.seen().size(), 1u);
  EXPECT_EQ(recorder.seen()[0].x, normed(norm_, x));
  EXPECT_EQ(recorder.seen()[0].weights, (std::vector<const WeightView*>{&gate.view, &up.view}));
}

// Weights whose columns are in orders of their own, one of them with a column of nothing, give what
// weights without do for an input put in that order; what is seen is the model's own features.
TEST_P(Observer, SeesFeaturesInTheModelsOrder) {
  const TestMatrix first = matrix(WeightFormat::kW4, 20, 32);
  const TestMatrix second = matrix(WeightFormat::kF32, 20);
  InputOrder backwards{.in_features = kCols, .columns = {}};
  InputOrder filled{.in_features = kCols - 1, .columns = {-1}};
  for (std::int32_t c = 0; c < kCols; ++c) backwards.columns.push_back(kCols - 1 - c);
  for (std::int32_t c = 0; c < kCols - 1; ++c) filled.columns.push_back(c);
  for (const std::int64_t tokens : {1, 20}) {
    for (const auto& orders : {std::pair(&backwards, &backwards), std::pair(&filled, &filled),
                               std::pair<InputOrder*, InputOrder*>(&backwards, nullptr)}) {
      const std::int64_t features = orders.first->in_features;
      const std::vector<float> x = random_rows(tokens * features, random_);
      const auto in_order = [&](const InputOrder* order) {
        std::vector<float> out;
        for (std::int64_t t = 0; t < tokens; ++t) {
          for (std::int32_t c = 0; c < kCols; ++c) {
            const std::int32_t from = order ? order->columns[static_cast<std::size_t>(c)] : c;
            out.push_back(from < 0 ? 0 : x[static_cast<std::size_t>(t * features + from)]);
          }
        }
        return out;
      };
      const auto product = [&](const TestMatrix& weights, const InputOrder* order) {
        std::vector<float> out(static_cast<std::size_t>(tokens * 20));
        const MatmulCall call{
            .weight = &weights.view, .out = out.data(), .activations = GetParam()};
        matmul(compute_, {in_order(order).data(), tokens}, {&call, 1});
        return out;
      };
      const std::vector<float> a = product(first, orders.first);
      const std::vector<float> b = product(second, orders.second);

      Recorder recorder;
      compute_.set_input_observer(&recorder);
      std::vector<float> outs[2] = {std::vector<float>(a.size()), std::vector<float>(b.size())};
      MatmulCall calls[] = {{.weight = &first.view,
                             .out = outs[0].data(),
                             .order = orders.first,
                             .activations = GetParam()},
                            {.weight = &second.view,
                             .out = outs[1].data(),
                             .order = orders.second,
                             .activations = GetParam()}};
      matmul(compute_, {x.data(), tokens}, calls);
      EXPECT_EQ(outs[0], a);
      EXPECT_EQ(outs[1], b);

      std::vector<float> gated(a.size());
      calls[0].activation = Activation::kRelu;
      gated_matmul(compute_, {x.data(), tokens}, calls[0], calls[1], gated.data());
      for (std::size_t i = 0; i < gated.size(); ++i) {
        EXPECT_EQ(gated[i], std::max(a[i], 0.0F) * b[i]);
      }
      compute_.set_input_observer(nullptr);
      ASSERT_EQ(recorder.seen().size(), 2u);
      for (const Recorder::Seen& seen : recorder.seen()) {
        EXPECT_EQ(seen.x, x);
        EXPECT_EQ(seen.features, features);
        EXPECT_EQ(seen.weights, (std::vector<const WeightView*>{&first.view, &second.view}));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Activations, Observer,
                         ::testing::Values(ActivationType::kBF16, ActivationType::kF32,
                                           ActivationType::kInt8),
                         [](const auto& test_case) {
                           return std::string(activation_type_name(test_case.param));
                         });

}  // namespace
}  // namespace nibble
