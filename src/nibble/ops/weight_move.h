// Moving weights to memory that is quick to read: in huge pages, and where there are several memory
// nodes on that of the threads that read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nibble/core/buffer.h"
#include "nibble/ops/compute.h"
#include "nibble/ops/row_claims.h"
#include "nibble/weights/weight.h"

namespace nibble {

/// Weights that are multiplied with the same input (8 at the most), on their way to new memory:
/// with one node that is in huge pages of an arena, with several in storage of their own, each row
/// written first, and with it put on its node, by the thread that matmul() deals it to.
class WeightMove {
 public:
  /// All must outlive this, and `arena` the weights too. Throws Error if there is no memory.
  WeightMove(Compute& compute, std::span<Weight* const> together, Arena& arena);

  /// Copies the next of the rows, up to about a MiB a thread. The weights stay what they are until
  /// all is copied; they are the copies then, and the result is true. After an exception
  /// (Interrupted) the same rows are next.
  bool advance();

 private:
  ThreadPool& pool_;
  std::vector<Weight*> from_;
  std::vector<Weight> to_;
  RowClaims claims_;
  std::int64_t copied_ = 0;  // claims of each thread's share
};

}  // namespace nibble
