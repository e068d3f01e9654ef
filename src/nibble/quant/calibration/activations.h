// What all calibration blocks have at one place of a model: hidden states between two decoder
// blocks, inputs of a layer. In memory, or, where that would be too much, in a file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>

#include "nibble/core/buffer.h"
#include "nibble/core/scratch_file.h"
#include "nibble/ops/compute.h"

namespace nibble {

/// The memory that activations may take, and where files for the others go.
class ActivationSpace {
 public:
  /// As much memory as they need.
  ActivationSpace() = default;
  ActivationSpace(std::filesystem::path folder, std::int64_t memory_bytes)
      : folder_(std::move(folder)), memory_bytes_(memory_bytes) {}

  /// Takes memory for `bytes`, or, if there is not that much, gives a file. Throws Error if the
  /// disk is full.
  std::optional<ScratchFile> take(std::int64_t bytes);

 private:
  std::filesystem::path folder_;
  std::optional<std::int64_t> memory_bytes_;  // left
};

/// How many blocks, of what.
struct ActivationShape {
  std::int64_t samples;
  std::int64_t tokens;
  std::int64_t width;     // at the most
  bool is_exact = false;  // in float32, not bfloat16

  std::int64_t sample_bytes() const { return tokens * width * (is_exact ? 4 : 2); }
  std::int64_t bytes() const { return samples * sample_bytes(); }
};

class Activations {
 public:
  Activations(const ActivationShape& shape, ActivationSpace& space);

  std::int64_t samples() const { return shape_.samples; }
  std::int64_t tokens() const { return shape_.tokens; }
  std::int64_t width() const { return shape_.width; }
  /// Makes room for blocks of another width, no more than at first; what there is is lost.
  void set_width(std::int64_t width) { shape_.width = width; }

  /// One block from or to float32, (tokens, width). Throw Error if the file fails.
  void load(Compute& compute, std::int64_t sample, float* out);
  void store(Compute& compute, std::int64_t sample, const float* values);

 private:
  std::byte* place_of(std::int64_t sample);

  ActivationShape shape_;
  std::optional<ScratchFile> file_;
  Buffer memory_;  // of all samples; of one, where there is a file
};

}  // namespace nibble
