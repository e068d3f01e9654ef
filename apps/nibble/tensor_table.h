// The table of a model's tensors, those of blocks that are alike in one row.
#pragma once

#include <vector>

#include "nibble/models/inspection.h"
#include "table.h"

namespace nibble::cli {

Table tensor_table(const std::vector<StoredParameter>& tensors);

}  // namespace nibble::cli
