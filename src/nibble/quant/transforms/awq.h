// AWQ (Lin et al. 2023, arXiv 2306.00978): channels whose inputs are large are scaled up in the
// weights and down in the module before, so that rounding costs them less; then the range of each
// group of weights is clipped. As github.com/mit-han-lab/llm-awq searches both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "nibble/quant/calibration/transform.h"

namespace nibble {

/// The scales of one group of layers.
struct AwqScale {
  ScaleGroup group;
  std::vector<float> scales;    // (in features)
  std::optional<double> ratio;  // r of mean|x|^r, where it is known
  std::vector<double> losses;   // of each r tried, mean squared error; 0 of those that dropped out
};

/// The bounds on |w| of a layer's scaled weights.
struct AwqClip {
  ModuleRole layer;
  std::int64_t groups;        // of a row
  std::vector<float> bounds;  // (out features, groups)
};

struct AwqBlock {
  std::vector<AwqScale> scales;
  std::vector<AwqClip> clips;
};

/// What was searched in a model, block by block.
struct AwqSearch {
  int bits = 0;                // that it was searched for; 0 where that is not known
  std::string origin = "AWQ";  // the file it was read from, for errors
  std::vector<AwqBlock> blocks;
};

struct AwqOptions {
  bool clips = true;        // whether ranges are clipped too
  bool exhaustive = false;  // whether every ratio is tried on every token, however far behind it is
};

/// Searches scales and bounds by the calibration samples, and applies them. Adds what it found to
/// `found`.
std::shared_ptr<const Transform> make_awq(const AwqOptions& options,
                                          std::shared_ptr<AwqSearch> found);

/// Applies what was searched before. Throws Error where it does not fit the model or the plan.
std::shared_ptr<const Transform> make_awq(std::shared_ptr<const AwqSearch> searched);

}  // namespace nibble
