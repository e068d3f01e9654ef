// A linear layer as another tool stored it: integers with scales and zero points.
#pragma once

#include <string>
#include <vector>

#include "nibble/weights/integer_matrix.h"

namespace nibble {

struct ForeignLayer {
  std::string format;                // "awq w4", for people
  int group_size = 0;                // columns; 0: a whole row
  IntegerMatrix matrix;              // (out, in)
  std::vector<std::string> tensors;  // the names of its parts
};

}  // namespace nibble
