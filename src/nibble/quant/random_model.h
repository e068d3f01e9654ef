// Writes a model with random weights, packed at once, for measuring speed and size without a
// download. The weights have the spread of trained ones, so that activations stay finite.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nibble/core/thread_pool.h"
#include "nibble/ops/activation_type.h"

namespace nibble {

struct RandomModelOptions {
  int bits =
      4;  // of linear layers: 4, 3, 8 (with a scale for each output channel), 16 for bfloat16
  int group_size = 128;
  bool quantize_head = true;  // lm_head too, if the other layers are packed
  int outer_group_size = 0;   // of layers outside the blocks; 0: as in them
  // What the model says that inputs of packed layers are rounded to (quant/plan.h).
  std::optional<ActivationType> activations = {};
  std::uint64_t seed = 0;
};

struct RandomModelReport {
  std::vector<std::string> notes;  // what is done otherwise than asked: a smaller group size
  std::int64_t bytes_out = 0;      // of the tensors' file
};

/// `config`: a config.json or a folder that holds one; tokenizer files beside it are copied, and a
/// "quantization_config" in it is ignored. Writes the folder `out` whole or not at all; `replace`
/// allows it to exist. The bytes depend on config and options only, not on the threads. Throws
/// Error (a full disk, a group size that fits no layer), Interrupted.
RandomModelReport write_random_model(const std::filesystem::path& config,
                                     const RandomModelOptions& options, ThreadPool& pool,
                                     const std::filesystem::path& out, bool replace);

}  // namespace nibble
