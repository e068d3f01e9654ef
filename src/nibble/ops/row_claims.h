// How the rows of weight matrices are dealt out to threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nibble/ops/compute.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

/// Consecutive rows of a weight matrix.
struct Rows {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t count() const { return end - begin; }
};

/// The claims on several matrices that are multiplied with the same input, one matrix after the
/// other. The pool deals claims out in consecutive shares, so that from pass to pass a thread reads
/// the same rows of each matrix, as far as nobody helps.
class RowClaims {
 public:
  static constexpr std::size_t kMaxMatrices = 8;

  /// kMaxMatrices at the most.
  RowClaims(Compute& compute, std::int64_t tokens, std::span<const WeightView* const> weights);

  std::int64_t count() const { return matrices_ == 0 ? 0 : spans_[matrices_ - 1].end; }

  struct Claim {
    std::size_t matrix;  // of `weights`
    Rows rows;
  };
  Claim claim(std::int64_t index) const;

 private:
  struct Span {
    std::int64_t begin = 0;  // claims
    std::int64_t end = 0;
    std::int64_t rows = 0;
    std::int64_t rows_per_claim = 0;
  };

  Span spans_[kMaxMatrices];
  std::size_t matrices_ = 0;
};

}  // namespace nibble
