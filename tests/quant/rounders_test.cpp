// The rounders against plain float64 numpy (fixtures/rounders/make_fixtures.py), and what holds of
// them by definition.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "nibble/formats/npy.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/rounders/cholesky.h"
#include "nibble/quant/rounders/gptq.h"
#include "nibble/quant/rounders/hessian.h"
#include "nibble/quant/rounders/range_search.h"
#include "nibble/quant/rounders/refine.h"
#include "nibble/quant/rounders/round_matrix.h"
#include "nibble/quant/rounders/target_correction.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "paths.h"

namespace nibble {
namespace {

const std::string kRoundersFixtures = testing::test_file("quant/fixtures/rounders/");

std::vector<float> fixture(const std::string& name) {
  return NpyFile(kRoundersFixtures + name + ".npy").floats();
}

std::vector<std::uint8_t> integers(const std::string& name) {
  return NpyFile(kRoundersFixtures + name + ".npy").bytes();
}

constexpr std::int64_t kInputRows = 100;
constexpr std::int64_t kCols = 96;

/// Inputs, (kInputRows, kCols): whole numbers, as bytes.
std::vector<float> inputs(const std::string& name) {
  std::vector<float> values;
  for (const std::uint8_t byte : integers(name)) values.push_back(static_cast<float>(byte) - 128);
  return values;
}

/// x^T y, exact in double.
Matrix<float> products(const std::vector<float>& x, const std::vector<float>& y) {
  Matrix<float> sums(kCols, kCols);
  for (std::int64_t i = 0; i < kCols; ++i) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      double sum = 0;
      for (std::size_t at = 0; at < x.size(); at += static_cast<std::size_t>(kCols)) {
        sum += static_cast<double>(x[at + static_cast<std::size_t>(i)]) *
               y[at + static_cast<std::size_t>(j)];
      }
      sums(i, j) = static_cast<float>(sum);
    }
  }
  return sums;
}

/// H as rounders take it.
Matrix<float> shrunk_products(const std::vector<float>& x) {
  Matrix<float> h = products(x, x);
  double mean = 0;
  for (const float value : diagonal(h)) mean += value / static_cast<double>(kCols);
  for (std::int64_t i = 0; i < kCols; ++i) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      const double kept = h(i, j) * (i == j ? 1 : 0.8);
      h(i, j) = static_cast<float>(kept + (i == j ? 0.01 * mean : 0));
    }
  }
  return h;
}

double largest(std::span<const float> values) {
  double most = 0;
  for (const float value : values) most = std::max(most, std::fabs(static_cast<double>(value)));
  return most;
}

/// Elements that differ by at most `bound` of the largest.
void expect_near(std::span<const float> found, std::span<const float> expected, double bound) {
  ASSERT_EQ(found.size(), expected.size());
  bound *= largest(expected);
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], bound) << i;
}

class Rounders : public ::testing::Test {
 protected:
  static constexpr WeightLayout kLayout{
      .format = WeightFormat::kW3, .rows = 7, .cols = kCols, .group_size = 32};

  IntegerRows empty_rows() const { return IntegerRows(kLayout, kLayout.rows); }
  /// Rows with the fixture's scales and zero points, and these integers.
  IntegerRows rows_with(const std::string& q) const {
    IntegerRows rows = empty_rows();
    rows.scales = fixture("scale");
    rows.zeros = integers("zero");
    if (!q.empty()) rows.q = integers(q);
    return rows;
  }
  RefineTask task() { return {compute_, 0, shrunk_, weights_}; }

  /// (w - w') H (w - w')^T of each row, in double.
  std::vector<double> objective(const IntegerRows& rows) const {
    std::vector<double> sums;
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      std::vector<double> off;
      for (std::int64_t c = 0; c < rows.cols; ++c) {
        off.push_back(static_cast<double>(weights_[static_cast<std::size_t>(r * rows.cols + c)]) -
                      rows.grid(r, c / rows.group_size).value(rows.q_row(r)[c]));
      }
      double& sum = sums.emplace_back(0);
      for (std::int64_t i = 0; i < rows.cols; ++i) {
        for (std::int64_t j = 0; j < rows.cols; ++j) {
          sum +=
              off[static_cast<std::size_t>(i)] * shrunk_(i, j) * off[static_cast<std::size_t>(j)];
        }
      }
    }
    return sums;
  }

  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
  std::vector<float> weights_ = fixture("w");
  Matrix<float> shrunk_ = shrunk_products(inputs("x"));
};

TEST_F(Rounders, ProductsAreThoseOfDouble) {
  const std::vector<float> x = inputs("x");
  const std::vector<float> y = inputs("y");
  TurnedRows turned_x;
  TurnedRows turned_y;
  Matrix<float> half(kCols, kCols);
  Matrix<float> whole(kCols, kCols);
  for (std::int64_t t = 0; t < kInputRows; t += 33) {  // in parts, the last of one row
    const std::int64_t count = std::min<std::int64_t>(33, kInputRows - t);
    turned_x.assign(compute_, x.data() + t * kCols, count, kCols);
    turned_y.assign(compute_, y.data() + t * kCols, count, kCols);
    add_products(compute_, turned_x, half);
    add_products(compute_, turned_x, turned_y, whole);
  }
  mirror_lower(half);
  // The sums are whole numbers below 2^24: exact in any order.
  expect_near(half.all(), products(x, x).all(), 0);
  expect_near(whole.all(), products(x, y).all(), 0);
  shrink(half, 0.2F);
  damp(half, 0.01F);
  expect_near(half.all(), shrunk_.all(), 0x1p-22);
}

TEST_F(Rounders, RangesAreThoseOfTheSearch) {
  IntegerRows rows = empty_rows();
  search_ranges(weights_, diagonal(shrunk_), rows);
  EXPECT_EQ(rows.scales, fixture("scale"));
  EXPECT_EQ(rows.zeros, integers("zero"));
  EXPECT_EQ(rows.q, integers("q_nearest"));
}

TEST_F(Rounders, GptqRoundsAsByTheInverse) {
  IntegerRows rows = rows_with("");
  const std::vector<std::int32_t> columns = order_by_diagonal(shrunk_);
  round_gptq(compute_, 0, {columns, inverse_factor(compute_, shrunk_, columns)}, weights_, rows);
  EXPECT_EQ(rows.q, integers("q_gptq"));
}

TEST_F(Rounders, DescentTakesEachBestInteger) {
  IntegerRows rows = rows_with("q_gptq");
  Matrix<float> g = descent_of(task(), rows);
  descend(task(), rows, g);
  EXPECT_EQ(rows.q, integers("q_descended"));
  expect_near(g.all(), descent_of(task(), rows).all(), 1e-4);  // g was kept up to date
}

TEST_F(Rounders, ScalesAreThoseOfLeastSquares) {
  IntegerRows rows = rows_with("q_descended");
  fit_scales(task(), descent_of(task(), rows), rows);
  EXPECT_EQ(rows.scales, fixture("scale_fitted"));
  EXPECT_NE(rows.scales, fixture("scale"));
}

TEST_F(Rounders, RefiningNeverRaisesTheObjectiveOfARow) {
  IntegerRows rows = rows_with("q_nearest");
  std::vector<double> before = objective(rows);
  for (int i = 0; i < 6; ++i) {
    Matrix<float> g = descent_of(task(), rows);
    i % 2 == 0 ? descend(task(), rows, g) : fit_scales(task(), g, rows);
    const std::vector<double> after = objective(rows);
    for (std::size_t r = 0; r < after.size(); ++r) {
      EXPECT_LE(after[r], before[r] * (1 + 1e-5)) << "step " << i << ", row " << r;
    }
    before = after;
  }
}

TEST_F(Rounders, CorrectedTargetIsTheRidgeRegression) {
  const std::vector<float> x = inputs("x");
  const std::vector<float> y = inputs("y");
  const Matrix<float> found = target_correction(compute_, products(x, y), products(y, y), 0.5F);
  std::vector<float> some;
  for (std::int64_t r = 0; r < kCols; r += 12) {
    some.insert(some.end(), found.row(r), found.row(r) + kCols);
  }
  expect_near(some, fixture("correction"), 1e-3);
}

TEST_F(Rounders, InverseFactorOfManyBlocksGivesTheInverse) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const std::int64_t n : {1, 64, 65, 200}) {
    std::vector<float> x(static_cast<std::size_t>(2 * n * n));
    for (float& value : x) value = round_to_bfloat16(normal(random));
    TurnedRows turned;
    turned.assign(compute_, x.data(), 2 * n, n);
    Matrix<float> h(n, n);
    add_products(compute_, turned, h);
    mirror_lower(h);
    const std::vector<std::int32_t> order = order_by_diagonal(h);
    const Matrix<float> u = inverse_factor(compute_, h, order);
    // U (P H P^T) U^T is the unit matrix; its condition is some tens here.
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        if (j < i) {
          ASSERT_EQ(u(i, j), 0.0F);
        }
        double sum = 0;
        for (std::int64_t k = i; k < n; ++k) {
          for (std::int64_t l = j; l < n; ++l) {
            sum += static_cast<double>(u(i, k)) * u(j, l) *
                   h(order[static_cast<std::size_t>(k)], order[static_cast<std::size_t>(l)]);
          }
        }
        ASSERT_NEAR(sum, i == j ? 1 : 0, 1e-4) << n << ": " << i << ", " << j;
      }
    }
  }
}

TEST(Hessians, TiesOfTheDiagonalGoByIndex) {
  Matrix<float> h(4, 4);
  for (const auto& [i, value] : {std::pair(0, 1.0F), {1, 2.0F}, {2, 1.0F}, {3, 2.0F}}) {
    h(i, i) = value;
  }
  EXPECT_EQ(order_by_diagonal(h), (std::vector<std::int32_t>{1, 3, 0, 2}));
}

/// What each of the rounders that look at inputs makes of `weights`, (rows, 64), for inputs `x`,
/// (tokens, 64), in groups of 32.
class InputsAreOdd : public ::testing::TestWithParam<std::string> {
 protected:
  PackedMatrix round(std::span<const float> weights, std::span<const float> x, int threads = 2) {
    ThreadPool pool(threads);
    Compute compute(select_kernels(), pool);
    InputStatistics statistics;
    TurnedRows turned;
    turned.assign(compute, x.data(), std::ssize(x) / 64, 64);
    statistics.products = Matrix<float>(64, 64);
    add_products(compute, turned, statistics.products);
    mirror_lower(statistics.products);
    statistics.cross = Matrix<float>(64, 64);
    add_products(compute, turned, turned, statistics.cross);
    statistics.squares = diagonal(statistics.products);
    const std::unique_ptr<Rounder> rounder =
        GetParam() == "gptq" ? make_gptq_rounder()
                             : make_best_rounder({.compensates = GetParam() == "best"});
    const auto ready = rounder->prepare(compute, std::move(statistics));
    const WeightLayout layout{.format = WeightFormat::kW4,
                              .rows = std::ssize(weights) / 64,
                              .cols = 64,
                              .group_size = 32};
    return round_matrix(compute, *ready, layout,
                        [&](std::int64_t first, std::int64_t count, std::span<float> out) {
                          std::copy_n(weights.begin() + first * 64, count * 64, out.begin());
                        });
  }

  std::vector<float> random_floats(std::size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(n);
    for (float& value : values) value = round_to_bfloat16(normal(random));
    return values;
  }

  /// Everything finite, and no weight further off than two steps of the widest range.
  void expect_sound(const PackedMatrix& packed, std::span<const float> weights) {
    EXPECT_TRUE(packed.error.finite);
    std::vector<float> found(weights.size());
    read_weight_rows(packed.view(), 0, packed.layout.rows, found);
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], weights[i], 2 * 8.0 / 15) << i / 64 << ", " << i % 64;
    }
  }
};

TEST_P(InputsAreOdd, FeaturesThatAreNeverActive) {
  std::vector<float> x = random_floats(300 * 64, 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % 64 == 5 || i % 64 >= 32) x[i] = 0;
  }
  const std::vector<float> weights = random_floats(33 * 64, 2);
  expect_sound(round(weights, x), weights);
}

TEST_P(InputsAreOdd, NothingIsEverActive) {
  const std::vector<float> weights = random_floats(16 * 64, 2);
  expect_sound(round(weights, std::vector<float>(64 * 10)), weights);
}

TEST_P(InputsAreOdd, FewerTokensThanFeaturesAndAlikeOnes) {
  std::vector<float> x = random_floats(3 * 64, 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % 64 > 40) x[i] = x[i / 64 * 64 + 40];
  }
  const std::vector<float> weights = random_floats(16 * 64, 2);
  expect_sound(round(weights, x), weights);
}

TEST_P(InputsAreOdd, GroupsOfZerosStayZerosAndConstantsStay) {
  std::vector<float> weights = random_floats(16 * 64, 2);
  for (std::size_t c = 0; c < 32; ++c) {
    weights[c] = 0;          // of row 0
    weights[64 + c] = 0.5F;  // of row 1
  }
  const PackedMatrix packed = round(weights, random_floats(300 * 64, 1));
  expect_sound(packed, weights);
  std::vector<float> row(64);
  read_weight_rows(packed.view(), 0, 1, row);
  // The least range, 1e-5, and three fits that make a scale half as large again at the most.
  for (std::size_t c = 0; c < 32; ++c) EXPECT_NEAR(row[c], 0, 1e-5 * 3.4);
}

TEST_P(InputsAreOdd, WeightsThatAreNotFiniteAreReported) {
  std::vector<float> weights = random_floats(100 * 64, 2);
  weights[70 * 64 + 3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(round(weights, random_floats(300 * 64, 1)).error.finite);
}

TEST_P(InputsAreOdd, SameForAnyThreads) {
  const std::vector<float> x = random_floats(700 * 64, 1);
  const std::vector<float> weights = random_floats(200 * 64, 2);
  const PackedMatrix one = round(weights, x, 1);
  for (const int threads : {2, 3}) {
    const PackedMatrix more = round(weights, x, threads);
    EXPECT_EQ(one.parts, more.parts);
  }
}

INSTANTIATE_TEST_SUITE_P(Rounders, InputsAreOdd, ::testing::Values("gptq", "light", "best"),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace nibble
