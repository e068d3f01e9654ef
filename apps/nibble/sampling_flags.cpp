#include "sampling_flags.h"

#include <cstdint>
#include <string>

#include "command.h"
#include "nibble/core/error.h"

namespace nibble::cli {
namespace {

/// Adds the flag of one field of the sampler.
template <typename T>
void add(CLI::App& command, SamplingFlags& flags, SamplingDefaults defaults, const char* name,
         T SamplerOptions::*field, const char* description) {
  CLI::Option* option = command.add_option(name, flags.generate.sampler.*field, description);
  if (defaults == SamplingDefaults::kOwn) option->capture_default_str();
  flags.of_sampler.emplace_back(option, [&flags, field](SamplerOptions& sampler) {
    sampler.*field = flags.generate.sampler.*field;
  });
}

}  // namespace

void SamplingFlags::override(SamplerOptions& sampler) const {
  for (const auto& [option, set] : of_sampler) {
    if (option->count() > 0) set(sampler);
  }
}

void add_sampling_flags(CLI::App& command, SamplingFlags& flags, SamplingDefaults defaults) {
  command
      .add_option("-n,--max-tokens", flags.generate.max_tokens,
                  "New tokens at the most (-1: until the context is full)")
      ->check(in_range(-1, std::int64_t{1} << 30))
      ->capture_default_str();
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
      .add_option("--stop", flags.generate.stop,
                  "End before this text, special tokens counted (may be given several times)")
      ->allow_extra_args(false);
  command.add_flag("--ignore-eos", flags.generate.ignore_eos, "Go on past end-of-sequence tokens");
}

void check_sampling(const SamplingFlags& flags) {
  try {
    const Sampler checked(flags.generate.sampler);
  } catch (const Error& error) {
    throw CLI::ValidationError(std::string("--") + error.what());
  }
}

}  // namespace nibble::cli
