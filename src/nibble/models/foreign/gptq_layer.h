// GPTQ's layout of a layer: qweight, qzeros, scales and g_idx. Several tools write it.
#pragma once

#include <cstdint>
#include <optional>

#include "nibble/models/foreign/layer.h"
#include "nibble/models/foreign/module_parts.h"

namespace nibble::foreign {

struct GptqScheme {
  int bits = 0;
  std::int64_t group_size = 0;  // 0: a whole row
  bool symmetric = false;       // the zero points are said to be the middle
  bool per_module = false;      // bits and groups may differ from module to module
  bool v2 = false;              // zero points as they are, not less 1
  bool planar = false;          // 3 bits in planes; 5 to 7 are in any case
  bool by_words = false;        // 3 bits whose zero points an old gptqmodel took whole words from
};

/// Whether there is a layout for so many bits.
bool is_gptq_width(std::int64_t bits);

/// The layer's parts; nothing if it has none. `tool` is what people are shown.
std::optional<ForeignLayer> find_gptq(ModuleParts& parts, const GptqScheme& scheme,
                                      const char* tool);

}  // namespace nibble::foreign
