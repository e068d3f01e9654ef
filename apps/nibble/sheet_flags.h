// The command lines of the published result sheets: `run_awq` and `run_smoothquant`, which differ
// in what precisions and algorithms they have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "command.h"
#include "eval_tasks.h"
#include "latency.h"
#include "sheet_recipe.h"

namespace nibble::cli {

/// One of the two.
struct SheetCommand {
  const char* name;
  const char* description;
  std::vector<std::string> precisions;  // the default first
  std::vector<std::string> algorithms;  // "
};

/// The flags that choose operators that run as one; none of them: all apart.
struct FastFlags {
  bool flash_attention_plus = false;
  bool attention = false;
  bool mlp = false;
  bool norm = false;
  bool decoder = false;

  FusionSet fused() const;
};

/// The flags that add tables of where the time goes.
struct SheetProfileFlags {
  bool products = false;
  bool layers = false;

  bool any() const { return products || layers; }
};

struct SheetFlags {
  const SheetCommand* command = nullptr;
  std::string model;
  std::string task = "decode";
  std::string precision;
  std::string algorithm;
  int w_bit = 4;
  int group_size = 128;
  std::string target = "cpu";
  std::string dataset = "raw";
  FastFlags fast;
  SheetProfileFlags profile;
  std::vector<std::string> calibration;  // texts of `quantize`
  bool force = false;                    // quantize again what is there already
  TableFormatFlag format;
  std::string text;          // what prompts are cut from, or perplexity is of; "": the default
  std::int64_t context = 0;  // positions; 0: the model's

  std::vector<std::int64_t> seqlens;  // of segments: a table
  std::int64_t n_segments = 0;        // 0: all
  std::string data;                   // of the tasks with questions
  std::string output;                 // of the same
  MmluFlags mmlu;
  HumanEvalFlags humaneval;

  bool is_quantized() const { return precision != "bf16"; }
  Recipe recipe() const;
  ComputeFlags compute() const;
  /// The command line that makes the checkpoint of these flags.
  std::string quantize_line() const;
};

/// Does what the flags say.
void run_sheet(const SheetFlags& flags, const CommonFlags& common);

/// The names of all tasks and what each does.
struct SheetTask {
  const char* name;
  const char* what;
};
const std::vector<SheetTask>& sheet_tasks();

}  // namespace nibble::cli
