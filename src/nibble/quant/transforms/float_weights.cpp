#include "nibble/quant/transforms/float_weights.h"

#include <algorithm>
#include <atomic>
#include <utility>

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

bool is_finite(Compute& compute, const Linear& layer) {
  const WeightView& weight = layer.weight.view;
  std::atomic<bool> all = true;
  for_each_rows(compute, weight.rows, [&](std::int64_t first, std::int64_t count, int) {
    std::vector<float> rows(static_cast<std::size_t>(count * weight.cols));
    read_weight_rows(weight, first, count, rows);
    float check = 0;  // stays 0 unless a weight is infinite or not a number
    for (const float w : rows) check += w * 0.0F;
    if (check != 0.0F) all = false;
  });
  return all;
}

std::span<float> own_floats(Compute& compute, Linear& layer) {
  const bool is_float = layer.weight.view.format == dense_format(DType::kF32);
  if (is_float && layer.weight.storage.size() > 0) return elements_of(layer.weight);
  Weight weight = float_weight(layer);
  const auto cols = static_cast<std::size_t>(weight.view.cols);
  const std::span<float> elements = elements_of(weight);
  for_each_rows(compute, weight.view.rows, [&](std::int64_t first, std::int64_t count, int) {
    read_weight_rows(layer.weight.view, first, count,
                     elements.subspan(static_cast<std::size_t>(first) * cols,
                                      static_cast<std::size_t>(count) * cols));
  });
  layer.weight = std::move(weight);
  return elements;
}

}  // namespace nibble
