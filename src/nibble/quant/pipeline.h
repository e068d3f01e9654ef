// Quantizes a checkpoint into a new folder: tensor by tensor, or by calibration, a decoder block at
// a time. Peak memory is some rows of one tensor for each thread, or a block and the states of the
// calibration tokens between two blocks; never the model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nibble/models/checkpoint.h"
#include "nibble/models/checkpoint_writer.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/calibration/block_quantizer.h"
#include "nibble/quant/learning/distillation.h"
#include "nibble/quant/plan.h"

namespace nibble {

struct QuantizeReport {
  std::vector<WrittenTensor> tensors;  // the packed ones
  double seconds = 0;                  // all work but the last sync
  double sync_seconds = 0;
  std::int64_t bytes_in = 0;           // of the source's tensors read
  std::int64_t bytes_out = 0;          // of the tensors written
  double bits_per_weight = 0;          // bits read for a token / weights read for a token
  double file_bits_per_parameter = 0;  // bits written / parameters of the model
};

/// An algorithm: how blocks are rounded, and what is learned then, if anything.
struct QuantizeMethod {
  std::string algorithm = "pergrp";  // its name, as the checkpoint says it
  BlockMethod blocks;
  std::optional<DistillationOptions> distillation = {};

  bool needs_calibration() const { return blocks.looks_at_inputs() || distillation; }
};

/// What to make of a checkpoint, and where.
struct QuantizeJob {
  const Checkpoint& checkpoint;
  const QuantizePlan& plan;
  QuantizeMethod method;
  /// For methods that need some: blocks of token ids, all of a length (calibration/text.h).
  std::vector<std::vector<std::int32_t>> calibration;
  /// Its sources and identity are filled in here.
  CheckpointDestination to;
  /// All that the result depends on besides the checkpoint (JSON, written as kRecipeFile): who
  /// resumes a run is to have the same. Empty: a run that goes by blocks is not resumed.
  std::string recipe = {};
  /// Bytes that may be resident: activations beyond them go to a file beside the output. 0: three
  /// quarters of what is free.
  std::int64_t max_memory = 0;
};

/// Throws Error if there are no calibration blocks, or some are longer than the context or hold ids
/// that are none of the vocabulary.
void check_calibration(const QuantizeJob& job);

/// Writes a folder whole or not at all. A run that resumes writes and reports what it would have if
/// nothing had ended it; by calibration it goes on from the last block that was finished, or, if
/// all were, with what is learned then. Throws Error (a full disk, weights or inputs that are not
/// finite, calibration blocks that are missing or longer than the context), Interrupted.
QuantizeReport quantize_model(const QuantizeJob& job, Compute& compute);

/// The same per group (spec section 3), without calibration.
QuantizeReport quantize_model(const Checkpoint& checkpoint, const QuantizePlan& plan,
                              Compute& compute, CheckpointDestination to);

}  // namespace nibble
