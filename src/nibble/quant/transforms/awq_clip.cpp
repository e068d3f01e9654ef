#include "nibble/quant/transforms/awq_clip.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "nibble/ops/gemm.h"
#include "nibble/quant/per_group.h"
#include "nibble/quant/transforms/float_weights.h"

namespace nibble {
namespace {

constexpr std::int64_t kSteps = 10;
constexpr std::int64_t kParts = 20;  // a step is 1 / 20 of the largest magnitude

/// Which shrunk ranges do best, group by group of columns.
class BoundSearch {
 public:
  BoundSearch(Compute& compute, const WeightLayout& layout, std::span<const float> weights,
              const SampledRows& inputs)
      : compute_(compute),
        layout_(layout),
        size_(layout.group_size),
        bits_(codec_of(layout.format).bits),
        weights_(weights),
        inputs_(inputs) {}

  std::vector<float> run() {
    products_.resize(static_cast<std::size_t>(layout_.cols * size_));
    const std::int64_t groups = group_count(layout_);
    compute_.pool().parallel_for(groups, [&](std::int64_t group, int) { sum_products(group); });
    bounds_.resize(static_cast<std::size_t>(layout_.rows * groups));
    for_each_rows(compute_, layout_.rows, [&](std::int64_t first, std::int64_t count, int thread) {
      for (std::int64_t group = 0; group < groups; ++group) {
        search(group, first, count, thread);
      }
    });
    return std::move(bounds_);
  }

 private:
  float* products_of(std::int64_t group) {
    return products_.data() + static_cast<std::size_t>(group * size_ * size_);
  }

  /// The sum over the tokens of x x^T, x being a group's part of the inputs.
  void sum_products(std::int64_t group) {
    std::vector<double> sums(static_cast<std::size_t>(size_ * size_));
    const std::vector<float>& rows = inputs_.rows();
    for (std::size_t at = static_cast<std::size_t>(group * size_); at < rows.size();
         at += static_cast<std::size_t>(layout_.cols)) {
      const float* x = rows.data() + at;
      for (std::int64_t i = 0; i < size_; ++i) {
        double* sum = sums.data() + i * size_;
        for (std::int64_t j = 0; j < size_; ++j) sum[j] += static_cast<double>(x[i]) * x[j];
      }
    }
    std::copy(sums.begin(), sums.end(), products_of(group));
  }

  void search(std::int64_t group, std::int64_t first, std::int64_t count, int thread) {
    const std::int64_t tries = count * kSteps;
    std::vector<float> errors(static_cast<std::size_t>(tries * size_));
    std::vector<float> bounds(static_cast<std::size_t>(tries));
    for (std::int64_t row = 0; row < count; ++row) {
      const float* w = weights_.data() + (first + row) * layout_.cols + group * size_;
      for (std::int64_t step = 0; step < kSteps; ++step) {
        const std::int64_t at = row * kSteps + step;
        bounds[static_cast<std::size_t>(at)] = try_bound(w, step, errors.data() + at * size_);
      }
    }
    std::vector<float> outputs(errors.size());
    gemm_here(compute_, thread,
              GemmTask<float>{.a = errors.data(),
                              .a_stride = size_,
                              .b = products_of(group),
                              .b_stride = size_,
                              .out = outputs.data(),
                              .out_stride = size_,
                              .rows = tries,
                              .depth = size_,
                              .cols = size_});
    for (std::int64_t row = 0; row < count; ++row) {
      double least = std::numeric_limits<double>::infinity();
      float best = bounds[static_cast<std::size_t>(row * kSteps)];
      for (std::int64_t at = row * kSteps; at < (row + 1) * kSteps; ++at) {
        double error = 0;
        for (std::int64_t i = at * size_; i < (at + 1) * size_; ++i) {
          const auto k = static_cast<std::size_t>(i);
          error += static_cast<double>(errors[k]) * outputs[k];
        }
        if (error >= least) continue;
        least = error;
        best = bounds[static_cast<std::size_t>(at)];
      }
      bounds_[static_cast<std::size_t>((first + row) * group_count(layout_) + group)] = best;
    }
  }

  /// By how much clipping to the bound of this step and rounding change a group, (size). Returns
  /// the bound.
  float try_bound(const float* w, std::int64_t step, float* errors) const {
    const auto [lo, hi] = std::minmax_element(w, w + size_);
    const float largest = std::max(std::abs(*lo), std::abs(*hi));
    const float bound =
        largest * static_cast<float>(1 - static_cast<double>(step) / static_cast<double>(kParts));
    const IntegerGrid grid =
        grid_between(std::clamp(*lo, -bound, bound), std::clamp(*hi, -bound, bound), bits_);
    for (std::int64_t i = 0; i < size_; ++i) {
      errors[i] = grid.value(grid.nearest(std::clamp(w[i], -bound, bound))) - w[i];
    }
    return bound;
  }

  Compute& compute_;
  const WeightLayout& layout_;
  std::int64_t size_;  // of a group
  int bits_;
  std::span<const float> weights_;
  const SampledRows& inputs_;
  std::vector<float> products_;  // (groups, size, size)
  std::vector<float> bounds_;
};

}  // namespace

std::vector<float> search_bounds(Compute& compute, const WeightLayout& layout,
                                 std::span<const float> weights, const SampledRows& inputs) {
  return BoundSearch(compute, layout, weights, inputs).run();
}

void clip_to_bounds(Compute& compute, const WeightLayout& layout, std::span<const float> bounds,
                    std::span<float> weights) {
  const std::int64_t groups = group_count(layout);
  for_each_rows(compute, layout.rows, [&](std::int64_t first, std::int64_t count, int) {
    for (std::int64_t group = first * groups; group < (first + count) * groups; ++group) {
      const float bound = bounds[static_cast<std::size_t>(group)];
      float* w = weights.data() + group * layout.group_size;
      for (std::int64_t i = 0; i < layout.group_size; ++i) w[i] = std::clamp(w[i], -bound, bound);
    }
  });
}

}  // namespace nibble
