// The flags that say how tokens are drawn and where a text ends, of `run` and `chat`.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "flags.h"
#include "nibble/runtime/sequence.h"

namespace nibble::cli {

struct SamplingFlags {
  GenerateOptions generate;  // with the values of the flags, or their defaults

  /// Puts the values of those flags of the sampler that were given in place of the ones in
  /// `sampler`.
  void override(SamplerOptions& sampler) const;

  std::vector<std::pair<Flag, std::function<void(SamplerOptions&)>>> of_sampler;
};

/// What holds where a flag of the sampler is not given: its own default, or what the model's
/// generation_config.json says.
enum class SamplingDefaults { kOwn, kModels };

/// Adds -n/--max-tokens, --temperature, --top-k, --top-p, --min-p, --repeat-penalty, --stop and
/// --ignore-eos. `flags` must outlive the command.
void add_sampling_flags(const Command& command, SamplingFlags& flags, SamplingDefaults defaults);

/// Values that no sampler takes are wrong usage: throws UsageError.
void check_sampling(const SamplingFlags& flags);

}  // namespace nibble::cli
