// A linear layer as another tool stored it: integers with scales and zero points.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nibble/models/tensor_source.h"
#include "nibble/weights/integer_matrix.h"

namespace nibble {

struct ForeignLayer {
  std::string format;                // "awq w4", for people
  int group_size = 0;                // columns; 0: a whole row
  IntegerMatrix matrix;              // (out, in)
  std::vector<std::string> tensors;  // the names of its parts
};

/// A weight that is read row by row as floats: an embedding of integers, or 8-bit floats.
struct ForeignRows {
  std::shared_ptr<const RowSource> rows;
  TensorView stored;                 // the tensor that most of it is
  std::string format = "";           // for people
  std::int64_t bytes = 0;            // in the file
  std::vector<std::string> tensors;  // the names of its parts
};

}  // namespace nibble
