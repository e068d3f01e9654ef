// AutoAWQ's layouts of a layer: qweight, qzeros and scales of 4 bits. Several tools write them.
#pragma once

#include <cstdint>
#include <optional>

#include "nibble/models/foreign/layer.h"
#include "nibble/models/foreign/module_parts.h"

namespace nibble::foreign {

/// kGemm: eight rows in a word; kGemv: eight columns, in their order.
enum class AwqLayout { kGemm, kGemv };

/// The layer's parts; nothing if it has none. `group_size` 0: a whole row.
std::optional<ForeignLayer> find_awq(ModuleParts& parts, AwqLayout layout, std::int64_t group_size);

}  // namespace nibble::foreign
