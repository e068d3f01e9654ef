// AutoAWQ's layouts of a layer: qweight, qzeros and scales. Several tools write them.
#pragma once

#include <cstdint>
#include <optional>

#include "nibble/models/foreign/layer.h"
#include "nibble/models/foreign/module_parts.h"

namespace nibble::foreign {

/// kGemm: rows of a column in a word; kGemv: columns of a row, in their order.
enum class AwqLayout { kGemm, kGemv };

struct AwqScheme {
  AwqLayout layout = AwqLayout::kGemm;
  int bits = 4;                 // or 8, in kGemm
  std::int64_t group_size = 0;  // 0: a whole row
};

/// The layer's parts; nothing if it has none.
std::optional<ForeignLayer> find_awq(ModuleParts& parts, const AwqScheme& scheme);

}  // namespace nibble::foreign
