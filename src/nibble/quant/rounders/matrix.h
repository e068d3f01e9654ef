// A row-major matrix that owns its memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "nibble/core/buffer.h"

namespace nibble {

template <typename Element>
class Matrix {
 public:
  Matrix() = default;
  /// Zeros. Throws Error if there is no memory.
  Matrix(std::int64_t rows, std::int64_t cols)
      : rows_(rows),
        cols_(cols),
        memory_(static_cast<std::size_t>(rows * cols) * sizeof(Element)) {}

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  Element* data() { return reinterpret_cast<Element*>(memory_.data()); }
  const Element* data() const { return reinterpret_cast<const Element*>(memory_.data()); }
  Element* row(std::int64_t r) { return data() + r * cols_; }
  const Element* row(std::int64_t r) const { return data() + r * cols_; }
  Element& operator()(std::int64_t r, std::int64_t c) { return row(r)[c]; }
  Element operator()(std::int64_t r, std::int64_t c) const { return row(r)[c]; }
  std::span<Element> all() { return {data(), static_cast<std::size_t>(rows_ * cols_)}; }
  std::span<const Element> all() const { return {data(), static_cast<std::size_t>(rows_ * cols_)}; }
  void clear() { std::fill_n(data(), rows_ * cols_, Element{0}); }

 private:
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  Buffer memory_;
};

}  // namespace nibble
