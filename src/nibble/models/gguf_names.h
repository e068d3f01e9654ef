// What GGUF calls a model's modules, and how it stores them otherwise than Hugging Face does: one
// table for all architectures, made from the spec, for reading and for writing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/models/model_spec.h"

namespace nibble {

struct Architecture;

/// A module with parameters (".weight", ".bias").
struct GgufModule {
  std::string gguf;  // "blk.0.attn_q"
  std::string name;  // in Hugging Face's checkpoint: "model.layers.0.self_attn.q_proj"
  /// Of q and k where the architecture's files have them so, see CheckpointTensor.
  std::int64_t interleaved_heads = 0;
  float added = 0;  // what GGUF's weight has more than Hugging Face's
};

/// All modules of the model in the order of the forward pass; a tied head, which files may hold a
/// copy of, too.
std::vector<GgufModule> gguf_modules(const ModelSpec& spec, const Architecture& architecture);

/// The tensor by whose elements the frequencies of RoPE are divided, (head_dim / 2).
inline constexpr const char* kGgufRopeFactors = "rope_freqs.weight";

}  // namespace nibble
