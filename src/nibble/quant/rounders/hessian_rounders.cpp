// The rounders that go by a Hessian: GPTQ as published, and `best`.
#include <utility>

#include "nibble/ops/gemm.h"
#include "nibble/quant/rounders/cholesky.h"
#include "nibble/quant/rounders/gptq.h"
#include "nibble/quant/rounders/hessian.h"
#include "nibble/quant/rounders/per_group_rounder.h"
#include "nibble/quant/rounders/range_search.h"
#include "nibble/quant/rounders/refine.h"
#include "nibble/quant/rounders/rounder.h"
#include "nibble/quant/rounders/target_correction.h"

namespace nibble {
namespace {

constexpr float kDamping = 0.01F;

GptqOrder make_order(Compute& compute, const Matrix<float>& h) {
  std::vector<std::int32_t> columns = order_by_diagonal(h);
  Matrix<float> factor = inverse_factor(compute, h, columns);
  return {std::move(columns), std::move(factor)};
}

class GptqRows : public RowRounder {
 public:
  explicit GptqRows(GptqOrder order) : order_(std::move(order)) {}

  void round(Compute& compute, int thread, std::span<const float> weights,
             IntegerRows& rows) const override {
    round_per_group(weights, rows);
    if (!rows.has_groups) return;  // of 8 bits there is nothing to gain
    round_gptq(compute, thread, order_, weights, rows);
  }

 private:
  GptqOrder order_;
};

class GptqRounder : public Rounder {
 public:
  InputNeeds needs() const override { return InputNeeds::kProducts; }
  std::unique_ptr<RowRounder> prepare(Compute& compute, InputStatistics statistics) const override {
    damp(statistics.products, kDamping);
    return std::make_unique<GptqRows>(make_order(compute, statistics.products));
  }
};

/// Ranges by search and nothing else.
class SearchedRows : public RowRounder {
 public:
  explicit SearchedRows(std::vector<float> importance) : importance_(std::move(importance)) {}

  void round(Compute&, int, std::span<const float> weights, IntegerRows& rows) const override {
    if (!rows.has_groups) return round_per_group(weights, rows);  // 8 bits: nothing to gain
    search_ranges(weights, importance_, rows);
  }

 private:
  std::vector<float> importance_;
};

class BestRows : public RowRounder {
 public:
  BestRows(Compute& compute, const BestOptions& options, InputStatistics statistics)
      : refinements_(options.refinements), h_(std::move(statistics.products)) {
    if (options.correction > 0) {
      correction_ = target_correction(compute, statistics.cross, h_, options.correction);
    }
    shrink(h_, options.shrinkage);
    damp(h_, kDamping);
    importance_ = diagonal(h_);
    order_ = make_order(compute, h_);
  }

  void round(Compute& compute, int thread, std::span<const float> weights,
             IntegerRows& rows) const override {
    if (!rows.has_groups) return round_per_group(weights, rows);  // 8 bits: nothing to gain
    std::vector<float> target(weights.begin(), weights.end());
    if (correction_.rows() > 0) correct(compute, thread, weights, target);
    search_ranges(target, importance_, rows);
    round_gptq(compute, thread, order_, target, rows);
    if (refinements_ == 0) return;
    const RefineTask task{compute, thread, h_, target};
    Matrix<float> g = descent_of(task, rows);
    for (int i = 0; i < refinements_; ++i) {
      fit_scales(task, g, rows);
      g = descent_of(task, rows);
      descend(task, rows, g);
    }
  }

 private:
  void correct(Compute& compute, int thread, std::span<const float> weights,
               std::vector<float>& target) const {
    const std::int64_t cols = correction_.cols();
    gemm_here(compute, thread,
              GemmTask<float>{.a = weights.data(),
                              .a_stride = cols,
                              .b = correction_.data(),
                              .b_stride = cols,
                              .out = target.data(),
                              .out_stride = cols,
                              .rows = std::ssize(weights) / cols,
                              .depth = cols,
                              .cols = cols});
  }

  int refinements_;
  Matrix<float> h_;
  Matrix<float> correction_;
  std::vector<float> importance_;
  GptqOrder order_;
};

class BestRounder : public Rounder {
 public:
  explicit BestRounder(const BestOptions& options) : options_(options) {}

  InputNeeds needs() const override {
    if (!options_.compensates) return InputNeeds::kSquares;
    return options_.correction > 0 ? InputNeeds::kCross : InputNeeds::kProducts;
  }

  std::unique_ptr<RowRounder> prepare(Compute& compute, InputStatistics statistics) const override {
    if (options_.compensates) {
      return std::make_unique<BestRows>(compute, options_, std::move(statistics));
    }
    return std::make_unique<SearchedRows>(std::move(statistics.squares));
  }

 private:
  BestOptions options_;
};

}  // namespace

std::unique_ptr<Rounder> make_gptq_rounder() {
  return std::make_unique<GptqRounder>();
}

std::unique_ptr<Rounder> make_best_rounder(const BestOptions& options) {
  return std::make_unique<BestRounder>(options);
}

}  // namespace nibble
