// What a GGUF file's metadata says, in the terms of a Hugging Face folder.
#pragma once

#include "nibble/core/json.h"
#include "nibble/formats/gguf_split.h"
#include "nibble/models/architecture.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// The config.json that the model would have. Throws Error naming file and key.
Json gguf_config(const GgufModel& model, const Architecture& architecture);

/// The tables of the tokenizer. Throws Error if the file holds none.
GgufVocab gguf_vocab(const GgufFile& file);

}  // namespace nibble
