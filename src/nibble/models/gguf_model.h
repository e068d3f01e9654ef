// What a GGUF file's metadata says, in the terms of a Hugging Face folder.
#pragma once

#include "nibble/core/json.h"
#include "nibble/formats/gguf_split.h"
#include "nibble/models/architecture.h"
#include "nibble/models/foreign/layer.h"
#include "nibble/models/tensor_source.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// The config.json that the model would have. Throws Error naming file and key.
Json gguf_config(const GgufModel& model, const Architecture& architecture);

/// A weight's integers, where it is of a type whose blocks our packed formats hold exactly (Q4_0,
/// Q5_0, Q8_0: a float16 scale and no minimum); else nothing.
std::optional<ForeignLayer> gguf_integers(const CheckpointTensor& tensor);

/// Whether llama.cpp ends a text at a token of this text, whatever the file's keys say.
bool is_gguf_end_name(std::string_view token);

/// A list of further ends, of Nibble's own: llama.cpp has three keys, and goes by names beside.
inline constexpr const char* kGgufMoreEnds = "tokenizer.ggml.nibble.end_token_ids";

/// The tables of the tokenizer. Throws Error if the file holds none.
GgufVocab gguf_vocab(const GgufFile& file);

}  // namespace nibble
