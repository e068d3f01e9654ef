#include "nibble/ops/row_claims.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "nibble/kernels/select.h"
#include "nibble/ops/prepared_input.h"
#include "nibble/ops/rowwise.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

/// Bytes of the matrices are not looked at, so that there are none.
WeightView view_of(WeightFormat format, std::int64_t rows, std::int64_t cols, int group_size = 0) {
  return {{format, rows, cols, group_size}, {}};
}

struct Case {
  std::vector<WeightView> weights;
  std::int64_t tokens;
  int threads;
};

std::vector<Case> cases() {
  const std::vector<std::vector<WeightView>> groups = {
      {view_of(WeightFormat::kW4, 2048, 2048, 128), view_of(WeightFormat::kW4, 512, 2048, 128),
       view_of(WeightFormat::kW4, 512, 2048, 128)},
      {view_of(WeightFormat::kBF16, 1, 64)},
      {view_of(WeightFormat::kW3, 77, 256, 64), view_of(WeightFormat::kBF16, 5, 256),
       view_of(WeightFormat::kW8, 203, 256)},
      {view_of(WeightFormat::kW4, 128256, 2048, 128)},
      {view_of(WeightFormat::kF32, 15, 8192), view_of(WeightFormat::kF32, 17, 8192)},
      {}};
  std::vector<Case> all;
  for (const auto& weights : groups) {
    for (const std::int64_t tokens : {std::int64_t{1}, kFewRows, kFewRows + 1}) {
      for (const int threads : {1, 2, 3, 8, 61}) all.push_back({weights, tokens, threads});
    }
  }
  return all;
}

class Claims {
 public:
  explicit Claims(const Case& test)
      : pool_(test.threads), compute_(select_kernels(), pool_), claims_(make(test)) {}

  const RowClaims& operator*() const { return claims_; }
  ThreadPool& pool() { return pool_; }

  std::int64_t rows_of(std::int64_t claim) const {
    std::int64_t count = 0;
    claims_.visit(claim, [&](std::size_t, const Rows& rows) { count += rows.count(); });
    return count;
  }

 private:
  RowClaims make(const Case& test) {
    std::vector<const WeightView*> weights;
    for (const WeightView& weight : test.weights) weights.push_back(&weight);
    if (weights.empty()) return {compute_, weights};
    std::vector<float> x(static_cast<std::size_t>(test.tokens * weights[0]->cols));
    std::vector<MatmulCall> calls;
    for (const WeightView* weight : weights) calls.push_back({.weight = weight, .out = nullptr});
    return {compute_, PreparedInput(compute_, {x.data(), test.tokens}, calls), weights};
  }

  ThreadPool pool_;
  Compute compute_;
  RowClaims claims_;
};

TEST(RowClaims, EveryRowIsInOneClaim) {
  for (const Case& test : cases()) {
    const Claims claims(test);
    std::vector<std::vector<int>> seen;
    for (const WeightView& weight : test.weights) {
      seen.emplace_back(static_cast<std::size_t>(weight.rows));
    }
    for (std::int64_t claim = 0; claim < (*claims).count(); ++claim) {
      (*claims).visit(claim, [&](std::size_t matrix, const Rows& rows) {
        EXPECT_LT(rows.begin, rows.end);
        EXPECT_EQ(rows.begin % 16, 0);
        for (std::int64_t row = rows.begin; row < rows.end; ++row) {
          ++seen.at(matrix).at(static_cast<std::size_t>(row));
        }
      });
    }
    for (const std::vector<int>& rows : seen) {
      EXPECT_EQ(std::count(rows.begin(), rows.end(), 1), std::ssize(rows))
          << test.tokens << " tokens, " << test.threads << " threads";
    }
  }
}

// Of few tokens: what the pool deals to a thread is an equal share, to within a block of 16 rows of
// each matrix, and its claims get shorter.
TEST(RowClaims, SharesAreEqualAndEndInShortClaims) {
  for (const Case& test : cases()) {
    if (test.tokens > kFewRows || test.weights.empty()) continue;
    Claims claims(test);
    std::int64_t rows = 0;
    std::int64_t bytes = 0;
    for (const WeightView& weight : test.weights) {
      rows += weight.rows;
      bytes += weight_bytes(weight);
    }
    const double slack = 16.0 * static_cast<double>(test.weights.size() + 1);
    for (int thread = 0; thread < test.threads; ++thread) {
      const auto [begin, end] = claims.pool().share((*claims).count(), thread);
      std::int64_t share = 0;
      std::int64_t last = 0;
      for (std::int64_t claim = begin; claim < end; ++claim) {
        last = claims.rows_of(claim);
        share += last;
        EXPECT_LE(
            static_cast<double>(last) * static_cast<double>(bytes) / static_cast<double>(rows),
            (1 << 20) + slack * static_cast<double>(bytes) / static_cast<double>(rows));
      }
      EXPECT_NEAR(static_cast<double>(share), static_cast<double>(rows) / test.threads, slack);
      EXPECT_LE(static_cast<double>(last) * static_cast<double>(bytes) / static_cast<double>(rows),
                (64 << 10) + slack * static_cast<double>(bytes) / static_cast<double>(rows));
    }
  }
}

}  // namespace
}  // namespace nibble
