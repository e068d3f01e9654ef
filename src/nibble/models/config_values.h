// Readers for what the configs of several architectures have in common, beside those for rotary
// positions and special tokens (architecture.h).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/models/model_spec.h"

namespace nibble {

// Bounds far above any real model: no product of two of them overflows.
inline constexpr std::int64_t kMaxWidth = 1 << 22;
inline constexpr std::int64_t kMaxLayers = 1 << 14;
inline constexpr std::int64_t kMaxVocab = 1 << 26;
inline constexpr std::int64_t kMaxContext = 1 << 30;

/// A size of 1 to `hi`. Where the config does not say it, it is `fallback`, which is the model
/// class's in transformers, with a remark: hardly a model has all of those.
std::int64_t read_size(const JsonObject& config, const char* key, std::int64_t hi,
                       std::int64_t fallback);

/// An activation by the name that transformers has for it (activations.py: ACT2FN). Throws Error
/// listing those known.
Activation read_activation(const JsonObject& config, std::string_view key,
                           std::string_view fallback);

/// The window of each layer as Qwen's configs give it: "sliding_window" positions if
/// "use_sliding_window", in the layers that "layer_types" says or, without that, in those from
/// "max_window_layers" on. Empty if no layer has one.
std::vector<std::int64_t> read_layer_windows(const JsonObject& config, std::int64_t n_layers);

}  // namespace nibble
