// Which model it is, told from another of the same name without reading all of it.
#pragma once

#include <string>

#include "nibble/models/checkpoint.h"

namespace nibble {

/// SHA-256 of a model's configuration, its tensors' names, types and shapes, and some bytes out of
/// each.
std::string model_fingerprint(const Checkpoint& checkpoint);

}  // namespace nibble
