// The metadata of an exported GGUF file: hyper-parameters and tokenizer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/formats/gguf_writer.h"
#include "nibble/models/architecture.h"
#include "nibble/models/checkpoint.h"

namespace nibble {

/// The checkpoint's architecture. Throws Error if GGUF has no name for it.
const Architecture& gguf_architecture(const Checkpoint& checkpoint);

/// What the frequencies of RoPE are divided by, (head_dim / 2), of a model whose scaling GGUF holds
/// as a tensor; else empty.
std::vector<float> gguf_rope_factors(const ModelSpec& spec);

/// All keys of the file. `type`: what the matrices were asked to be. Adds to `notes` what GGUF
/// cannot say. Throws Error for a tokenizer that it cannot describe.
GgufMetadata gguf_metadata(const Checkpoint& checkpoint, const Architecture& architecture,
                           std::optional<DType> type, std::vector<std::string>& notes);

}  // namespace nibble
