// A conversation on the terminal or a pipe: `nibble chat`, and the task of the same name.
#pragma once

#include <string>

#include "command.h"
#include "nibble/runtime/conversation.h"
#include "sampling_flags.h"

namespace nibble::cli {

struct ChatFlags {
  ChatFlags() { sampling.generate.max_tokens = -1; }  // until the model ends its answer

  std::string model;
  ComputeFlags compute;
  ConversationOptions options;
  SamplingFlags sampling;
};

/// Talks until the input ends.
void chat(const ChatFlags& flags, const CommonFlags& common);

}  // namespace nibble::cli
