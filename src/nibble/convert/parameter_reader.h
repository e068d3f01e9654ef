// A checkpoint's parameters one by one, whatever form they are stored in, for writing them in
// another: rows are read on all threads, encoded, and handed on in order, a few MiB at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/core/progress.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/checkpoint_writer.h"
#include "nibble/models/inspection.h"
#include "nibble/ops/compute.h"
#include "nibble/weights/rounding_error.h"

namespace nibble {

/// The integers that a layer's weight is stored as, in Nibble's format or another tool's.
struct IntegerFormat {
  int bits = 0;
  int group_size = 0;  // consecutive inputs that share a scale; 0: a whole row, or in no order
  /// The type of ggml's whose blocks hold the integers as they are; kBF16 where none does.
  DType block_type = DType::kBF16;
};
/// Nothing for a dense layer.
std::optional<IntegerFormat> integer_format(const Checkpoint& checkpoint, const LinearSpec& linear);

/// stored_parameters() in the order of exported folders: tables, norms, linear layers.
std::vector<StoredParameter> parameters_to_export(const Checkpoint& checkpoint);

/// Whether a head that config.json calls tied is stored packed, so that an export without packed
/// layers has to have a head of its own.
bool has_own_packed_head(const Checkpoint& checkpoint);

/// One row of a parameter (a vector is one row), and what it was unpacked from.
struct ParameterRow {
  std::span<const float> values;  // (cols)
  // Of integers of `bits` bits: values are (q - zero) * scale. 0 where there are none.
  int bits = 0;
  std::span<const std::uint8_t> q = {};      // (cols)
  std::span<const float> scales = {};        // (groups)
  std::span<const std::uint8_t> zeros = {};  // (groups)
  int group_size = 0;                        // of a row that is one group all its columns
};

/// How rows are written.
struct RowFormat {
  std::int64_t row_bytes = 0;
  /// Rows are to lie as CheckpointTensor::interleaved_heads says.
  std::int64_t interleaved_heads = 0;
  FunctionRef<RoundingError(const ParameterRow& row, std::byte* out)> encode;
};

/// Reads one parameter.
class ParameterReader {
 public:
  /// All three must outlive this.
  ParameterReader(const Checkpoint& checkpoint, Compute& compute, const StoredParameter& parameter);

  std::int64_t rows() const;
  std::int64_t cols() const { return parameter_.shape.back(); }

  /// Calls visit(row number, row) for rows first .. first + count - 1.
  void visit(std::int64_t first, std::int64_t count,
             FunctionRef<void(std::int64_t row, const ParameterRow& values)> visit) const;
  /// Gives back the memory of integers that were read in place.
  void drop_integers() const;

  /// Encodes all rows and writes them as the tensor `name`. Throws Error naming the parameter if a
  /// value is not finite or too large for the format.
  RoundingError write(const RowFormat& format, CheckpointWriter& writer, const std::string& name,
                      Progress& progress) const;

 private:
  void visit_dense(std::int64_t first, std::int64_t count,
                   FunctionRef<void(std::int64_t, const ParameterRow&)> visit) const;
  void visit_block(std::int64_t begin, std::int64_t end,
                   FunctionRef<void(std::int64_t, const ParameterRow&)> visit) const;
  void drop(std::int64_t first, std::int64_t count) const;
  void check_finite(const RoundingError& error) const;

  const Checkpoint& checkpoint_;
  Compute& compute_;
  const StoredParameter& parameter_;
  std::optional<PackedTensors> packed_;
  std::optional<ForeignLayer> foreign_;
  std::optional<CheckpointTensor> dense_;
};

}  // namespace nibble
