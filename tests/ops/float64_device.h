// A device of plain loops in float64 that rounds nothing: another arithmetic in place of the CPU's
// kernels.
#pragma once

#include <vector>

#include "nibble/ops/product_device.h"
#include "weights/weight_values.h"

namespace nibble::test {

class Float64Device : public ProductDevice {
 public:
  /// How many products it has computed.
  int products_done() const { return products_done_; }

 protected:
  void products(Compute&, const MatmulInput& input, std::span<const MatmulCall> calls) override {
    for (const MatmulCall& call : calls) {
      multiply(input, call);
      ++products_done_;
    }
  }

 private:
  static void multiply(const MatmulInput& input, const MatmulCall& call) {
    const std::int64_t rows = call.weight->rows;
    const std::int64_t cols = call.weight->cols;
    const std::vector<float> weights = weight_values(*call.weight);
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t t = 0; t < input.tokens; ++t) {
        double sum = call.bias == nullptr ? 0 : call.bias[row];
        for (std::int64_t c = 0; c < cols; ++c) {
          sum += static_cast<double>(weights[static_cast<std::size_t>(row * cols + c)]) *
                 input.x[t * cols + c];
        }
        call.out[t * rows + row] = static_cast<float>(sum);
      }
    }
  }

  int products_done_ = 0;
};

}  // namespace nibble::test
