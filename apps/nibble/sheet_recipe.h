// How the result sheets' commands make weights, and where the checkpoints lie that they make.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::cli {

/// What is asked for of a checkpoint.
struct Recipe {
  std::string algorithm;  // "awq", "awqplus", "pergrp", "smoothquant"
  int bits = 4;
  int group_size = 128;  // 0: a scale for each output channel

  /// "awq-w4-g128", "smoothquant-w8".
  std::string name() const;
  /// As the sheets call it: "pergrp g32", "awq", "awqplus"; with "w3" where it is 3 bits.
  std::string title() const;
  /// The flags of `nibble quantize` that make it.
  std::vector<std::string> quantize_flags() const;
};

/// Where the checkpoints of a model lie: a folder under the model folder's cache for each state of
/// its files, so that weights replaced by others are never taken for those.
std::filesystem::path checkpoint_folder(const std::filesystem::path& model);

struct MadeCheckpoint {
  Recipe recipe;
  std::filesystem::path path;
};
/// Those that are there, in the order of the sheets' columns: pergrp, awq, awqplus, smoothquant, of
/// each the finest first.
std::vector<MadeCheckpoint> made_checkpoints(const std::filesystem::path& model);

}  // namespace nibble::cli
