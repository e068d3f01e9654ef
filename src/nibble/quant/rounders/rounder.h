// Rounders turn weights into integers of groups. What they know of a layer's inputs is collected
// first, for all layers that share them; then rows are rounded, a few at a time on each thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/integer_rows.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {

/// What a rounder wants to know of a layer's inputs X_q, each kind with those before it.
enum class InputNeeds {
  kNothing,
  kSquares,   // the sum of squares of each feature
  kProducts,  // X_q^T X_q
  kCross      // X_f^T X_q, X_f being the inputs in the model that is not quantized
};

/// Sums over calibration tokens; those that were not asked for are empty.
struct InputStatistics {
  std::vector<float> squares;  // (cols)
  Matrix<float> products;      // (cols, cols), symmetric
  Matrix<float> cross;         // (cols, cols)
};

/// Rounds rows of layers that share their inputs.
class RowRounder {
 public:
  virtual ~RowRounder() = default;
  /// Fills in `rows`. weights: (rows.rows, rows.cols), finite. Runs on the calling thread, `thread`
  /// of the pool. Rows do not influence each other.
  virtual void round(Compute& compute, int thread, std::span<const float> weights,
                     IntegerRows& rows) const = 0;
};

class Rounder {
 public:
  virtual ~Rounder() = default;
  virtual InputNeeds needs() const = 0;
  /// Gets ready for layers with these inputs. Uses all threads.
  virtual std::unique_ptr<RowRounder> prepare(Compute& compute,
                                              InputStatistics statistics) const = 0;
};

/// Scale and zero point from the least and the largest weight of a group (quant/per_group.h), or
/// the scale from the largest of a row (quant/per_channel.h).
std::unique_ptr<Rounder> make_per_group_rounder();

/// GPTQ as published, with static groups and columns by descending diagonal of the Hessian: scale
/// and zero point as per group, damping of 0.01.
std::unique_ptr<Rounder> make_gptq_rounder();

/// The parts of `best`, each of which can be left out.
struct BestOptions {
  bool compensates = true;  // GPTQ, with the parts below; else ranges are searched and no more
  float shrinkage = 0.2F;   // of the Hessian towards its diagonal; 0: none
  int refinements = 3;      // rounds of fitting scales and coordinate descent; 0: none
  float correction = 0.5F;  // alpha of target_correction.h; 0: none
};

/// Searched ranges (range_search.h), and GPTQ on a Hessian that is shrunk and damped by 0.01, for
/// a corrected target, refined (refine.h).
std::unique_ptr<Rounder> make_best_rounder(const BestOptions& options);

}  // namespace nibble
