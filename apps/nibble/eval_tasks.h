// The tasks of `nibble eval`, each with its flags, for every sub-command that has them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "command.h"

namespace nibble::cli {

struct PerplexityFlags {
  std::vector<std::string> models;  // a column of the table each
  std::string protocol = "segments";
  std::string text;
  bool rows = false;
  std::int64_t seqlen = 0;  // 0: 2048, or the shortest context
  std::vector<std::int64_t> seqlens;
  std::int64_t n_segments = 0;  // 0: all
  std::string reference;
};
void eval_perplexity(const PerplexityFlags& flags, const ComputeFlags& compute,
                     const CommonFlags& common);

struct MmluFlags {
  std::string data;  // the folder; "": the default
  std::string subjects = "abstract_algebra";
  std::int64_t limit = 30;     // questions a subject; 0: all
  std::string style = "auto";  // "base", "chat"
  bool one_by_one = false;
  std::string output;  // the file that keeps the answers; "": none
};
/// `model` is what the model is called, where it is a name or a path for locate_model().
void eval_mmlu(const std::string& model, const MmluFlags& flags, const ComputeFlags& compute,
               const CommonFlags& common);

}  // namespace nibble::cli
