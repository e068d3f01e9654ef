#include "nibble/quant/rounders/weight_rows.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "nibble/weights/weight_codec.h"

namespace nibble {

void read_weight_rows(const WeightView& weight, std::int64_t first, std::int64_t count,
                      std::span<float> out) {
  assert(first % kRowBlock == 0 && std::ssize(out) == count * weight.cols);
  const WeightCodec& codec = codec_of(weight.format);
  std::vector<float> columns(static_cast<std::size_t>(kColumnRun * kRowBlock));
  for (std::int64_t row = 0; row < count; row += kRowBlock) {
    const std::int64_t rows = std::min(kRowBlock, count - row);
    for (std::int64_t begin = 0; begin < weight.cols; begin += kColumnRun) {
      const std::int64_t cols = std::min(kColumnRun, weight.cols - begin);
      codec.dequantize(weight, {(first + row) / kRowBlock, begin, cols}, columns.data());
      for (std::int64_t r = 0; r < rows; ++r) {
        float* to = out.data() + (row + r) * weight.cols + begin;
        for (std::int64_t c = 0; c < cols; ++c) {
          to[c] = columns[static_cast<std::size_t>(c * kRowBlock + r)];
        }
      }
    }
  }
}

}  // namespace nibble
