#include "sampling_flags.h"

#include <cstdint>
#include <string>

#include "nibble/core/error.h"

namespace nibble::cli {
namespace {

/// Adds the flag of one field of the sampler.
template <typename T>
void add(const Command& command, SamplingFlags& flags, SamplingDefaults defaults, const char* name,
         T SamplerOptions::*field, const char* description) {
  const Flag flag = command.add(name, flags.generate.sampler.*field, description);
  if (defaults == SamplingDefaults::kOwn) flag.show_default();
  flags.of_sampler.emplace_back(flag, [&flags, field](SamplerOptions& sampler) {
    sampler.*field = flags.generate.sampler.*field;
  });
}

}  // namespace

void SamplingFlags::override(SamplerOptions& sampler) const {
  for (const auto& [flag, set] : of_sampler) {
    if (flag.given()) set(sampler);
  }
}

void add_sampling_flags(const Command& command, SamplingFlags& flags, SamplingDefaults defaults) {
  command
      .add("-n,--max-tokens", flags.generate.max_tokens,
           "New tokens at the most (-1: until the context is full)")
      .in_range(-1, std::int64_t{1} << 30)
      .show_default();
  add(command, flags, defaults, "--temperature", &SamplerOptions::temperature,
      "0: always the most likely token");
  add(command, flags, defaults, "--top-k", &SamplerOptions::top_k,
      "Draw from the k most likely tokens (0: all)");
  add(command, flags, defaults, "--top-p", &SamplerOptions::top_p,
      "Draw from the fewest tokens that have this probability together (1: all)");
  add(command, flags, defaults, "--min-p", &SamplerOptions::min_p,
      "Draw from tokens at least this share as likely as the first (0: all)");
  add(command, flags, defaults, "--repeat-penalty", &SamplerOptions::repeat_penalty,
      "Divides the logits of tokens in the context (1: off)");
  // One text for each --stop: a vector option would swallow the arguments that follow it.
  command
      .add("--stop", flags.generate.stop,
           "End before this text, special tokens counted (may be given several times)")
      .one_value_each_time();
  command.add_switch("--ignore-eos", flags.generate.ignore_eos,
                     "Go on past end-of-sequence tokens");
}

void check_sampling(const SamplingFlags& flags) {
  try {
    const Sampler checked(flags.generate.sampler);
  } catch (const Error& error) {
    throw UsageError(std::string("--") + error.what());
  }
}

}  // namespace nibble::cli
