// What a matrix of any format stands for.
#pragma once

#include <algorithm>
#include <vector>

#include "nibble/core/tensor_view.h"
#include "nibble/weights/dequantize.h"
#include "nibble/weights/weight_codec.h"

namespace nibble::test {

/// All elements of a tensor.
inline std::vector<float> all_rows(const TensorView& tensor) {
  std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
  dequantize_rows(tensor, 0, tensor.rows(), out.data());
  return out;
}

/// (rows, cols), as the codec dequantizes them.
inline std::vector<float> weight_values(const WeightView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.rows * view.cols));
  float block[kColumnRun * kRowBlock];
  for (std::int64_t row = 0; row < view.rows; row += kRowBlock) {
    for (std::int64_t begin = 0; begin < view.cols; begin += kColumnRun) {
      const std::int64_t cols = std::min(kColumnRun, view.cols - begin);
      codec_of(view.format).dequantize(view, {row / kRowBlock, begin, cols}, block);
      for (std::int64_t r = 0; r < std::min(kRowBlock, view.rows - row); ++r) {
        for (std::int64_t c = 0; c < cols; ++c) {
          values[static_cast<std::size_t>((row + r) * view.cols + begin + c)] =
              block[c * kRowBlock + r];
        }
      }
    }
  }
  return values;
}

}  // namespace nibble::test
