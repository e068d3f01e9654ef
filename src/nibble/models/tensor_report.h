// Tensors that a file has and nobody reads, and tensors that are looked for and are not there.
#pragma once

#include <string>

#include "nibble/models/checkpoint.h"

namespace nibble {

/// To be called when all weights are loaded. Of a folder, tensors that nobody read are left out
/// with a remark, as transformers does; of a GGUF file they are an Error, as in llama.cpp, where a
/// file holds what its architecture has.
void report_unread_tensors(const Checkpoint& checkpoint);

/// What the file has where the tensor `name` is missing: other tensors of its module, the same one
/// behind another prefix, other modules beside it. Opens with "; ", or is empty.
std::string describe_missing(const TensorSource& source, const std::string& name);

}  // namespace nibble
