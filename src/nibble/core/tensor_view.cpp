#include "nibble/core/tensor_view.h"

#include <fmt/ranges.h>

namespace nibble {

std::int64_t TensorView::elements() const {
  std::int64_t product = 1;
  for (std::int64_t dim : shape) product *= dim;
  return product;
}

std::int64_t TensorView::rows() const {
  std::int64_t product = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) product *= shape[i];
  return product;
}

std::size_t TensorView::row_bytes() const {
  const DTypeLayout layout = dtype_layout(dtype);
  return static_cast<std::size_t>(cols() / layout.block * layout.bytes);
}

std::int64_t interleaved_row(std::int64_t row, std::int64_t head_rows) {
  const std::int64_t half = head_rows / 2;
  const std::int64_t in_head = row % head_rows;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

std::string shape_to_string(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::int64_t checked_tensor_bytes(DType dtype, const std::vector<std::int64_t>& shape) {
  const DTypeLayout layout = dtype_layout(dtype);
  if ((shape.empty() ? 1 : shape.back()) % layout.block != 0) return -1;
  std::int64_t elements = 1;
  for (std::int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(elements, dim, &elements)) return -1;
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / layout.block, layout.bytes, &bytes)) return -1;
  return bytes;
}

}  // namespace nibble
