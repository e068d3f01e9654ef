// How the rows of weight matrices are dealt out to threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nibble/core/function_ref.h"
#include "nibble/ops/linear_device.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

class PreparedInput;

/// Consecutive rows of a weight matrix.
struct Rows {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t count() const { return end - begin; }
};

/// The claims on several matrices that are multiplied with the same input, one matrix after the
/// other. For many tokens a claim is a panel of the kernel. For few, where reading the weights is
/// what takes time, each thread has an equal share of the rows (not of the bytes, where formats
/// differ: others help then) in one stretch, the same from pass to pass as far as nobody helps: its
/// claims are long, so that it reads long streams, and at the end of its share shorter and shorter,
/// so that no thread waits long for another.
class RowClaims {
 public:
  /// The claims on the weights of the first calls that `input` is for.
  RowClaims(Compute& compute, const PreparedInput& input,
            std::span<const WeightView* const> weights);
  /// Those of a few tokens, which depend on no input.
  RowClaims(Compute& compute, std::span<const WeightView* const> weights);

  std::int64_t count() const { return count_; }

  /// Calls work(matrix, rows) for what the claim has of each of `weights`.
  void visit(std::int64_t claim,
             FunctionRef<void(std::size_t matrix, const Rows& rows)> work) const;

 private:
  // Blocks of kRowBlock rows, those of all matrices counted in one.
  struct Blocks {
    std::int64_t begin;
    std::int64_t end;
  };
  struct Matrix {
    std::int64_t rows = 0;
    Blocks blocks{0, 0};
    std::int64_t panel_blocks = 0;  // of a claim for many tokens
    std::int64_t panels_end = 0;    // its claims end before this one
  };

  void add_matrices(std::span<const WeightView* const> weights);
  void deal_panels(const KernelSet& kernels, const PreparedInput& input);
  void deal_shares(int threads, std::span<const WeightView* const> weights);
  Blocks blocks_of(std::int64_t claim) const;
  Blocks panel(std::int64_t claim) const;
  std::int64_t offset_in_share(std::int64_t blocks, std::int64_t claim) const;

  Matrix matrices_[kMaxMatmulCalls];
  std::size_t matrix_count_ = 0;
  std::int64_t blocks_ = 0;
  std::int64_t count_ = 0;
  // Of few tokens; no threads for many.
  std::int64_t threads_ = 0;
  std::int64_t claims_per_thread_ = 0;
  // The first of a thread's claims, of long_blocks_ each; the others halve what is left.
  std::int64_t long_claims_ = 0;
  std::int64_t long_blocks_ = 0;
};

}  // namespace nibble
