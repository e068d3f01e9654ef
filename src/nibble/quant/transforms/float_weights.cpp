#include "nibble/quant/transforms/float_weights.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

Weight float_weight(const Linear& layer) {
  const WeightView& from = layer.weight.view;
  Weight weight{
      .view = {{.format = dense_format(DType::kF32), .rows = from.rows, .cols = from.cols}, {}},
      .storage = Buffer(static_cast<std::size_t>(from.rows * from.cols) * sizeof(float))};
  weight.view.parts[kCodesPart] = weight.storage.data();
  return weight;
}

std::span<float> elements_of(Weight& weight) {
  return {reinterpret_cast<float*>(weight.storage.data()),
          static_cast<std::size_t>(weight.view.rows * weight.view.cols)};
}

void for_each_rows(Compute& compute, std::int64_t rows,
                   FunctionRef<void(std::int64_t first, std::int64_t count, int thread)> work) {
  constexpr std::int64_t kRows = 2 * kRowBlock;
  compute.pool().parallel_for((rows + kRows - 1) / kRows, [&](std::int64_t item, int thread) {
    work(item * kRows, std::min(kRows, rows - item * kRows), thread);
  });
}

std::span<float> own_floats(Compute& compute, const std::string& name, Linear& layer) {
  const bool is_float = layer.weight.view.format == dense_format(DType::kF32);
  if (is_float && layer.weight.storage.size() > 0) return elements_of(layer.weight);
  Weight weight = float_weight(layer);
  const std::int64_t cols = weight.view.cols;
  const std::span<float> elements = elements_of(weight);
  std::atomic<bool> is_finite = true;
  for_each_rows(compute, weight.view.rows, [&](std::int64_t first, std::int64_t count, int) {
    const std::span<float> rows = elements.subspan(static_cast<std::size_t>(first * cols),
                                                   static_cast<std::size_t>(count * cols));
    read_weight_rows(layer.weight.view, first, count, rows);
    float check = 0;  // stays 0 unless a weight is infinite or not a number
    for (const float w : rows) check += w * 0.0F;
    if (check != 0.0F) is_finite = false;
  });
  if (!is_finite) {
    fail("tensor \"{}.weight\" holds weights that are not finite numbers", name);
  }
  layer.weight = std::move(weight);
  return elements;
}

}  // namespace nibble
