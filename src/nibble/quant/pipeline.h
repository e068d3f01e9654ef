// Quantizes a checkpoint tensor by tensor into a new folder. Peak memory is some rows of one tensor
// for each thread, never the model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/models/checkpoint.h"
#include "nibble/models/checkpoint_writer.h"
#include "nibble/ops/compute.h"
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

/// Carries `plan` out: writes a folder whole or not at all, `to` saying where and whether to
/// resume; sources and identity are filled in here. A run that resumes reports what it would have
/// if nothing had ended it. Throws Error (a full disk, weights that are not finite), Interrupted.
QuantizeReport quantize_model(const Checkpoint& checkpoint, const QuantizePlan& plan,
                              Compute& compute, CheckpointDestination to);

}  // namespace nibble
