// How `nibble quantize` makes weights integers: the algorithms and their flags.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "command.h"
#include "nibble/quant/calibration/text.h"
#include "nibble/quant/pipeline.h"
#include "recipe.h"

namespace nibble::cli {

struct MethodFlags {
  std::string algorithm = "pergrp";
  // Of best:
  std::string effort = "normal";
  double shrinkage = 0.2;
  double correction = 0.5;
  int refinements = 3;
  double learning_rate = 0.0025;
  // Of awq and awqplus:
  std::string awq_cache;
  std::string rounder = "nearest";
  bool exhaustive = false;
  // Of smoothquant:
  std::string precision = "w8a8";
  double alpha = 0.5;
  std::string weight_scale = "channel";
  std::string activation_scale = "token";
  std::string maxima;
  // Of all that calibrate:
  std::vector<std::string> texts;
  CalibrationOptions calibration;
};

void add_method_flags(const Command& command, MethodFlags& flags);
/// Those that a recipe has, once they are added. `flags` must outlive it.
void add_to_recipe(const Command& command, const MethodFlags& flags, RecipeFlags& recipe);

/// What the algorithm makes of the options for all: which layers, how many bits.
void choose_layers(const MethodFlags& flags, QuantizeOptions& options);

/// Whether it looks at text.
bool needs_texts(const MethodFlags& flags);

/// Throws Error if the file that the search's result is to be kept in cannot be written, or lies in
/// the output folder and would be lost or take the place of a file there: said before hours of
/// work.
void check_kept_file(const MethodFlags& flags, const std::string& output);

struct ChosenMethod {
  QuantizeMethod method;
  std::map<std::string, std::string> digests;  // of files that were read, by their recipe's key
  std::function<void()> save = [] {};          // what was found, once the model is written
};

/// Reads what was saved before, where a flag names a file that there is. Throws Error naming it.
ChosenMethod choose_method(const MethodFlags& flags, const ModelSpec& spec);

/// What the calibration was on, for the checkpoint to say.
std::string calibration_text(const MethodFlags& flags, const CommonFlags& common);

/// Token ids in blocks, of the text that Nibble comes with if none is named. A conversation is
/// written by the model's chat template; in that text, if there is one. Throws Error as
/// calibration_blocks() and ChatFormat do.
std::vector<std::vector<std::int32_t>> make_calibration(const MethodFlags& flags,
                                                        const CommonFlags& common,
                                                        const Checkpoint& checkpoint);

}  // namespace nibble::cli
