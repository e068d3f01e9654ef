#include "nibble/models/foreign/row_sources.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "nibble/weights/dequantize.h"
#include "nibble/weights/float8.h"
#include "nibble/weights/repack.h"

namespace nibble::foreign {
namespace {

class IntegerRows : public RowSource {
 public:
  explicit IntegerRows(IntegerMatrix matrix) : matrix_(std::move(matrix)) {}

  void read(std::int64_t first, std::int64_t count, float* out) const override {
    constexpr std::int64_t kLot = 16;  // of dequantize_integers()
    for (std::int64_t row = first; row < first + count; row += kLot) {
      const std::int64_t lot = std::min(kLot, first + count - row);
      IntegerMatrix part = matrix_;
      part.rows = row + lot;  // those behind them need not be unpacked
      dequantize_integers(part, row, lot, out + (row - first) * matrix_.cols);
    }
  }

 private:
  IntegerMatrix matrix_;
};

class ColumnRows : public RowSource {
 public:
  explicit ColumnRows(IntegerMatrix matrix) : matrix_(std::move(matrix)) {}

  void read(std::int64_t first, std::int64_t count, float* out) const override {
    const auto width = static_cast<std::size_t>(matrix_.rows);
    for (std::int64_t i = 0; i < count; ++i, out += width) {
      dequantize_column(matrix_, first + i, {out, width});
    }
  }

 private:
  IntegerMatrix matrix_;
};

class Float8Rows : public RowSource {
 public:
  explicit Float8Rows(const Float8Matrix& matrix)
      : matrix_(matrix), scales_(static_cast<std::size_t>(matrix.scale.elements())) {
    TensorView flat = matrix.scale;
    flat.shape = {flat.elements()};
    dequantize_rows(flat, 0, 1, scales_.data());
  }

  void read(std::int64_t first, std::int64_t count, float* out) const override {
    const std::array<float, 256>& values = float8_values(matrix_.weight.dtype);
    const std::int64_t cols = matrix_.weight.cols();
    const std::int64_t col_blocks = scales_.size() == 1 ? 1 : matrix_.scale.cols();
    for (std::int64_t row = first; row < first + count; ++row) {
      const auto* bits = reinterpret_cast<const std::uint8_t*>(matrix_.weight.data) + row * cols;
      const float* scale = scales_.data() + row / matrix_.block_rows * col_blocks;
      for (std::int64_t begin = 0; begin < cols; begin += matrix_.block_cols, ++scale) {
        const std::int64_t end = std::min(cols, begin + matrix_.block_cols);
        for (std::int64_t c = begin; c < end; ++c) {
          const float value = values[bits[c]];
          *out++ = matrix_.divides ? value / *scale : value * *scale;
        }
      }
    }
  }

 private:
  Float8Matrix matrix_;
  std::vector<float> scales_;
};

}  // namespace

std::unique_ptr<const RowSource> make_integer_rows(IntegerMatrix matrix) {
  return std::make_unique<IntegerRows>(std::move(matrix));
}

std::unique_ptr<const RowSource> make_column_rows(IntegerMatrix matrix) {
  return std::make_unique<ColumnRows>(std::move(matrix));
}

bool is_float8(DType dtype) {
  return dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2;
}

ForeignRows float8_rows(const Float8Matrix& matrix, std::vector<std::string> tensors) {
  return {.rows = std::make_shared<Float8Rows>(matrix),
          .stored = matrix.weight,
          .format = std::string(dtype_name(matrix.weight.dtype)),
          .bytes = static_cast<std::int64_t>(matrix.weight.bytes + matrix.scale.bytes),
          .tensors = std::move(tensors)};
}

ForeignRows integer_rows(ForeignLayer layer, std::unique_ptr<const RowSource> rows) {
  return {.rows = std::move(rows),
          .stored = layer.matrix.code_tensor,
          .format = std::move(layer.format),
          .bytes = layer.matrix.file_bytes(),
          .tensors = std::move(layer.tensors)};
}

std::optional<Float8Matrix> find_float8(ModuleParts& parts, const char* scale_suffix,
                                        const Float8Scheme& scheme) {
  const LinearSpec& linear = parts.linear();
  const auto weight = parts.find(".weight");
  if (!weight || !is_float8(weight->dtype)) return std::nullopt;
  Float8Matrix matrix;
  matrix.weight = parts.shaped(".weight", {weight->dtype}, {linear.out, linear.in});
  matrix.scale = parts.part(scale_suffix, {DType::kF32, DType::kBF16, DType::kF16});
  matrix.divides = scheme.divides;
  matrix.block_rows = linear.out;
  matrix.block_cols = linear.in;
  if (matrix.scale.elements() == 1) return matrix;
  std::vector<std::int64_t> shape = matrix.scale.shape;
  // modelopt's blocks: (row blocks, 1, column blocks, 1)
  if (shape.size() == 4 && shape[1] == 1 && shape[3] == 1) shape = {shape[0], shape[2]};
  if (shape.size() == 1) shape.push_back(1);
  matrix.block_rows = 1;
  if (shape != std::vector<std::int64_t>{linear.out, 1}) {
    std::tie(matrix.block_rows, matrix.block_cols) = scheme.block;
    const std::vector<std::int64_t> expected = {
        (linear.out + matrix.block_rows - 1) / matrix.block_rows,
        (linear.in + matrix.block_cols - 1) / matrix.block_cols};
    if (shape != expected) parts.refuse_shape(scale_suffix, matrix.scale, expected);
  }
  matrix.scale.shape = shape;
  return matrix;
}

}  // namespace nibble::foreign
