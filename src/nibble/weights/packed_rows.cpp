#include "nibble/weights/packed_rows.h"

#include <algorithm>
#include <cassert>

#include "nibble/weights/weight_codec.h"

namespace nibble {

void read_packed_row(const WeightView& view, std::int64_t row, std::span<float> out) {
  assert(std::ssize(out) == view.cols);
  const auto dequantize = codec_of(view.format).dequantize;
  float block[kRowBlock * kColumnRun];
  for (std::int64_t begin = 0; begin < view.cols; begin += kColumnRun) {
    const std::int64_t cols = std::min(kColumnRun, view.cols - begin);
    dequantize(view, {row / kRowBlock, begin, cols}, block);
    for (std::int64_t i = 0; i < cols; ++i) {
      out[static_cast<std::size_t>(begin + i)] = block[i * kRowBlock + row % kRowBlock];
    }
  }
}

}  // namespace nibble
