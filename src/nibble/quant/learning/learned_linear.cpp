#include "nibble/quant/learning/learned_linear.h"

#include <algorithm>

#include "nibble/ops/gemm.h"
#include "nibble/quant/rounders/weight_rows.h"

namespace nibble {
namespace {

constexpr std::int64_t kWeightRowsAtATime =
    2048;                                // of weights that are unpacked: those of a head are many
constexpr std::int64_t kTileRows = 192;  // outputs of a tile of dy^T x, a multiple of 16

/// Whether the weight is packed in groups, with scales in bfloat16.
bool has_scales_to_learn(const WeightView& weight) {
  const WeightCodec& codec = codec_of(weight.format);
  return codec.has_groups() && codec.unpack != nullptr && weight.scale_type == ScaleType::kBF16;
}

}  // namespace

LearnedLinear::LearnedLinear(Linear& layer) : layer_(layer) {
  WeightView& weight = layer.weight.view;
  if (!has_scales_to_learn(weight)) return;
  const auto count =
      static_cast<std::size_t>(block_count(weight) * group_count(weight) * kRowBlock);
  const auto* scales = static_cast<const BFloat16*>(weight.parts[kScalesPart]);
  scales_.assign(scales, scales + count);
  for (const BFloat16 scale : scales_) first_.push_back(to_float(scale));
  weight.parts[kScalesPart] = scales_.data();
  numbers_.resize(count);
}

void LearnedLinear::freeze() {
  first_.clear();
  numbers_.resize(0);
}

void LearnedLinear::update() {
  for (std::size_t i = 0; i < first_.size(); ++i) {
    scales_[i] = to_bfloat16(first_[i] * (1 + numbers_.values[i]));
  }
}

void LearnedLinear::backward(Compute& compute, const float* x, const float* dy, std::int64_t tokens,
                             float* dx) {
  if (dx != nullptr) add_input_gradient(compute, dy, tokens, dx);
  if (!first_.empty()) add_scale_gradient(compute, x, dy, tokens);
}

void LearnedLinear::add_input_gradient(Compute& compute, const float* dy, std::int64_t tokens,
                                       float* dx) {
  const WeightView& weight = layer_.weight.view;
  const std::int64_t step = std::min(kWeightRowsAtATime, weight.rows);
  if (weights_.rows() != step) weights_ = Matrix<float>(step, weight.cols);
  for (std::int64_t first = 0; first < weight.rows; first += step) {
    const std::int64_t rows = std::min(step, weight.rows - first);
    compute.pool().parallel_for((rows + kRowBlock - 1) / kRowBlock, [&](std::int64_t block, int) {
      const std::int64_t row = block * kRowBlock;
      const std::int64_t count = std::min(kRowBlock, rows - row);
      read_weight_rows(weight, first + row, count,
                       {weights_.row(row), static_cast<std::size_t>(count * weight.cols)});
    });
    gemm(compute, GemmTask<float>{.a = dy + first,
                                  .a_stride = weight.rows,
                                  .b = weights_.data(),
                                  .b_stride = weight.cols,
                                  .out = dx,
                                  .out_stride = weight.cols,
                                  .rows = tokens,
                                  .depth = rows,
                                  .cols = weight.cols});
  }
}

/// The gradient of a scale is the sum over its group of (dy^T x) * (q - zero); of dy^T x only a
/// tile of some outputs and one group's inputs is there at a time.
void LearnedLinear::add_scale_gradient(Compute& compute, const float* x, const float* dy,
                                       std::int64_t tokens) {
  const WeightView& weight = layer_.weight.view;
  const std::int64_t groups = group_count(weight);
  turned_x_.assign(compute, x, tokens, weight.cols);
  turned_dy_.assign(compute, dy, tokens, weight.rows);
  const std::int64_t tiles = (weight.rows + kTileRows - 1) / kTileRows;
  compute.pool().parallel_for(tiles, [&](std::int64_t tile, int thread) {
    const std::int64_t first = tile * kTileRows;
    const std::int64_t rows = std::min(kTileRows, weight.rows - first);
    Matrix<float> products(rows, weight.cols);
    add_products_here(compute, thread, {turned_dy_, first, first + rows},
                      {turned_x_, 0, weight.cols}, products.data(), weight.cols);
    IntegerBlock integers(weight.cols, groups);
    for (std::int64_t block = first / kRowBlock; block * kRowBlock < first + rows; ++block) {
      codec_of(weight.format).unpack(weight, block, integers);
      const std::int64_t count = std::min(kRowBlock, weight.rows - block * kRowBlock);
      for (std::int64_t r = 0; r < count; ++r) {
        add_row_gradient(integers, r, products.row(block * kRowBlock + r - first), block);
      }
    }
  });
}

/// Row r of a block, whose row of dy^T x is `product`, (cols).
void LearnedLinear::add_row_gradient(const IntegerBlock& integers, std::int64_t r,
                                     const float* product, std::int64_t block) {
  const std::int64_t size = integers.cols / integers.groups;
  const std::uint8_t* q = integers.q.data() + r * integers.cols;
  for (std::int64_t g = 0; g < integers.groups; ++g) {
    const int zero = integers.zeros[static_cast<std::size_t>(g * kRowBlock + r)];
    float sum = 0;
    for (std::int64_t c = g * size; c < (g + 1) * size; ++c) {
      sum += product[c] * static_cast<float>(q[c] - zero);
    }
    const auto at = static_cast<std::size_t>((block * integers.groups + g) * kRowBlock + r);
    numbers_.gradient[at] += sum * first_[at];
  }
}

}  // namespace nibble
