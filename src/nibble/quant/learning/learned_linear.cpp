#include "nibble/quant/learning/learned_linear.h"

#include <algorithm>

#include "nibble/ops/gemm.h"
#include "nibble/ops/rowwise.h"
#include "nibble/weights/packed_group.h"

namespace nibble {
namespace {

constexpr std::int64_t kRowsAtATime =
    2048;                                // of weights that are unpacked: those of a head are many
constexpr std::int64_t kTileRows = 192;  // outputs of a tile of dy^T x, a multiple of 16

bool is_grouped(const WeightView& weight) {
  return weight.format == WeightFormat::kW4 || weight.format == WeightFormat::kW3;
}

/// q - zero of a block of 16 rows, (16, cols).
std::vector<float> codes_of_block(const WeightView& weight, std::int64_t block) {
  const PackedGroup layout = packed_group_of(weight);
  const auto code_bytes = static_cast<std::size_t>(layout.block_code_bytes());
  const auto zero_bytes = static_cast<std::size_t>(layout.block_zero_bytes());
  const auto at = static_cast<std::size_t>(block);
  std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * layout.cols));
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(kRowBlock * layout.groups()));
  unpack_codes(layout,
               {static_cast<const std::uint8_t*>(weight.data) + at * code_bytes, code_bytes}, q);
  unpack_zeros(layout, {weight.zeros + at * zero_bytes, zero_bytes}, zeros);
  std::vector<float> codes(q.size());
  for (std::int64_t r = 0; r < kRowBlock; ++r) {
    for (std::int64_t c = 0; c < layout.cols; ++c) {
      const auto i = static_cast<std::size_t>(r * layout.cols + c);
      const std::int64_t zero_at = c / layout.group_size * kRowBlock + r;
      codes[i] = static_cast<float>(q[i] - zeros[static_cast<std::size_t>(zero_at)]);
    }
  }
  return codes;
}

}  // namespace

LearnedLinear::LearnedLinear(Linear& layer) : layer_(layer) {
  WeightView& weight = layer.weight.view;
  if (!is_grouped(weight) || weight.scales == nullptr) return;
  const PackedGroup layout = packed_group_of(weight);
  const auto count = static_cast<std::size_t>(layout.scale_bytes() / 2);
  scales_.assign(weight.scales, weight.scales + count);
  for (const BFloat16 scale : scales_) first_.push_back(to_float(scale));
  weight.scales = scales_.data();
  parameter_.resize(count);
}

void LearnedLinear::update() {
  for (std::size_t i = 0; i < first_.size(); ++i) {
    scales_[i] = to_bfloat16(first_[i] * (1 + parameter_.values[i]));
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
  const std::int64_t step = std::min(kRowsAtATime, weight.rows);
  if (weights_.rows() != step) weights_ = Matrix<float>(step, weight.cols);
  for (std::int64_t first = 0; first < weight.rows; first += step) {
    const std::int64_t rows = std::min(step, weight.rows - first);
    for_each_row(compute, rows, [&](std::int64_t r) {
      weight_row(weight, first + r, {weights_.row(r), static_cast<std::size_t>(weight.cols)});
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
  const PackedGroup layout = packed_group_of(weight);
  turned_x_.assign(compute, x, tokens, weight.cols);
  turned_dy_.assign(compute, dy, tokens, weight.rows);
  const std::int64_t tiles = (weight.rows + kTileRows - 1) / kTileRows;
  compute.pool().parallel_for(tiles, [&](std::int64_t tile, int thread) {
    const std::int64_t first = tile * kTileRows;
    const std::int64_t rows = std::min(kTileRows, weight.rows - first);
    Matrix<float> products(rows, weight.cols);
    add_products_here(compute, thread, {turned_dy_, first, first + rows},
                      {turned_x_, 0, weight.cols}, products.data(), weight.cols);
    for (std::int64_t block = first / kRowBlock; block * kRowBlock < first + rows; ++block) {
      const std::vector<float> codes = codes_of_block(weight, block);
      const std::int64_t count = std::min(kRowBlock, weight.rows - block * kRowBlock);
      for (std::int64_t r = 0; r < count; ++r) {
        const float* product = products.row(block * kRowBlock + r - first);
        for (std::int64_t g = 0; g < layout.groups(); ++g) {
          float sum = 0;
          for (std::int64_t c = g * layout.group_size; c < (g + 1) * layout.group_size; ++c) {
            sum += product[c] * codes[static_cast<std::size_t>(r * weight.cols + c)];
          }
          const auto at = static_cast<std::size_t>((block * layout.groups() + g) * kRowBlock + r);
          parameter_.gradient[at] += sum * first_[at];
        }
      }
    }
  });
}

}  // namespace nibble
