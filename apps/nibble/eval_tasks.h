// The tasks of `nibble eval`, each with its flags, for every sub-command that has them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "command.h"
#include "table_format.h"

namespace nibble::cli {

/// A model whose perplexity is measured: a column of the table.
struct PerplexityColumn {
  std::string model;
  std::string title = {};        // "": the last part of its path
  std::string activations = {};  // "": as asked for of all
};

struct PerplexityFlags {
  std::vector<PerplexityColumn> columns;
  TableFormatFlag format = {"table"};
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
  std::string name;            // whose name decides that by itself; "": the model's
  bool one_by_one = false;
  std::string output;  // the file that keeps the answers; "": none
  TableFormatFlag format = {"table"};
};
/// `model` is what the model is called, where it is a name or a path for locate_model().
void eval_mmlu(const std::string& model, const MmluFlags& flags, const ComputeFlags& compute,
               const CommonFlags& common);

struct HumanEvalFlags {
  std::string data;               // the file; "": the default
  std::int64_t samples = 1;       // of each problem
  double temperature = 0;         // 0: greedy
  std::int64_t max_tokens = 512;  // new ones at the most
  std::string output;             // where the completions go
};
/// Several greedy completions are wrong usage: throws UsageError.
void check_samples(const HumanEvalFlags& flags);
void eval_humaneval(const std::string& model, const HumanEvalFlags& flags,
                    const ComputeFlags& compute, const CommonFlags& common);

/// HellaSwag and WinoGrande.
struct ChoiceFlags {
  std::string task;         // "hellaswag", "winogrande"
  std::string data;         // the file; "": the default
  std::int64_t limit = -1;  // questions; 0: all; below: 400 of hellaswag, all of winogrande
};
void eval_choices(const std::string& model, const ChoiceFlags& flags, const ComputeFlags& compute,
                  const CommonFlags& common);

}  // namespace nibble::cli
