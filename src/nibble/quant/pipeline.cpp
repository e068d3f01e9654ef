#include "nibble/quant/pipeline.h"

#include <algorithm>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/core/sha256.h"
#include "nibble/core/stopwatch.h"
#include "nibble/models/recipe_files.h"
#include "nibble/models/tokenizer_files.h"
#include "nibble/quant/forecast.h"
#include "nibble/quant/learning/write_learned.h"
#include "nibble/quant/memory_cost.h"
#include "nibble/quant/packed_contents.h"
#include "nibble/quant/tensor_writer.h"

namespace nibble {
namespace {

FolderContents contents_of(const QuantizeJob& job) {
  return packed_contents(job.checkpoint.config(), job.checkpoint.spec(), job.plan,
                         job.method.algorithm);
}

/// What a run depends on besides the source and the plan; empty if it cannot be resumed.
std::string identity_of(const QuantizeJob& job, const Compute& compute) {
  const QuantizeMethod& method = job.method;
  std::string identity = method.algorithm;
  if (!method.blocks.goes_by_blocks() && !method.distillation) return identity;
  if (job.recipe.empty()) return {};
  identity += "\n" + job.recipe;
  std::string ids;
  for (const std::vector<std::int32_t>& block : job.calibration) {
    ids.append(reinterpret_cast<const char*>(block.data()), block.size() * sizeof(block[0]));
    ids += '\n';
  }
  // Sums are not the same to the last bit in all kernel sets.
  return fmt::format("{}\n{}, tokens {}", identity, compute.kernels().name, sha256_hex(ids));
}

CalibrationSize size_of(const QuantizeJob& job) {
  if (job.calibration.empty()) return {0, 0};
  return {std::ssize(job.calibration), std::ssize(job.calibration.front())};
}

/// Layer by layer as the checkpoint has them.
void write_layers(const QuantizeJob& job, Compute& compute, TensorWriter& writer) {
  const auto rounder = job.method.blocks.rounder->prepare(compute, {});
  for (const LayerPlan* layer : job.plan.packed()) writer.write_packed(*layer, *rounder);
}

/// Rounds and writes all tensors.
void write_rounded(const QuantizeJob& job, Compute& compute, CheckpointWriter& checkpoint,
                   QuantizeReport& report) {
  TensorWriter writer(job.checkpoint, job.plan, compute, checkpoint);
  if (job.method.blocks.goes_by_blocks()) {
    BlockQuantizer quantizer(job.checkpoint, job.plan, job.method.blocks, compute, writer);
    ActivationSpace space =
        activation_space(job, size_of(job), compute.pool().size(), checkpoint.folder());
    quantizer.run(job.calibration, space);
  } else {
    write_layers(job, compute, writer);
  }
  writer.write_dense();
  report.tensors = writer.packed();
  report.bytes_in = writer.bytes_in();
  report.bytes_out = writer.bytes_out();
}

/// Rounds into the folder `rounded`, within that of `checkpoint`, unless this resumes a run that
/// has done so.
void round_for_learning(const QuantizeJob& job, Compute& compute, CheckpointDestination rounded,
                        CheckpointWriter& checkpoint, QuantizeReport& report) {
  const std::string origin = checkpoint.path().string();
  report.tensors = tensors_of(checkpoint.tensors().notes(), origin);
  const bool is_there = std::filesystem::exists(rounded.path / "config.json") &&
                        std::filesystem::exists(rounded.path / "model.safetensors");
  if (is_there && !report.tensors.empty()) return;
  // It may have been on its way out when the run was killed.
  if (!is_there) std::filesystem::remove_all(rounded.path);
  checkpoint.tensors().record(note_of({}));  // now its folder stays for whoever resumes this
  CheckpointWriter writer(rounded, contents_of(job));
  write_rounded(job, compute, writer, report);
  writer.commit();
  checkpoint.tensors().record(note_of(report.tensors));
}

void learn(const QuantizeJob& job, Distillation& distillation) {
  const DistillationOptions& options = *job.method.distillation;
  const auto blocks = std::ssize(job.calibration);
  Progress progress("learning", std::max<std::int64_t>(1, blocks / options.batch), "steps");
  distillation.run(job.calibration, options, [&](double divergence) {
    progress.set_note(fmt::format("KL divergence {:.3f}", divergence));
    progress.advance(1);
    verbose("learning: KL divergence {:.4f}", divergence);
  });
}

/// Writes what is rounded into a folder of its own, learns what there is to be learned in it, and
/// writes all tensors.
void write_distilled(const QuantizeJob& job, Compute& compute, const Resumption& resumption,
                     CheckpointWriter& checkpoint, QuantizeReport& report) {
  const std::filesystem::path rounded = checkpoint.folder() / "rounded";
  round_for_learning(job, compute, {.path = rounded, .replace = true, .resumption = resumption},
                     checkpoint, report);
  {
    const Checkpoint quantized(rounded);
    Distillation distillation(job.checkpoint, quantized, compute, job.plan.options.dtype);
    learn(job, distillation);
    write_learned(quantized, contents_of(job), distillation, checkpoint);
  }
  std::filesystem::remove_all(rounded);
  report.bytes_in = forecast_quantization(job.checkpoint, job.plan).bytes_in;
  report.bytes_out = static_cast<std::int64_t>(checkpoint.tensors().file_bytes());
}

}  // namespace

void check_calibration(const QuantizeJob& job) {
  const ModelSpec& spec = job.checkpoint.spec();
  if (job.calibration.empty()) {
    fail("{}: quantizing by \"{}\" takes calibration text", job.checkpoint.path().string(),
         job.method.algorithm);
  }
  const std::int64_t length = std::ssize(job.calibration.front());
  if (length > spec.context) {
    fail("{}: calibration blocks of {} tokens are longer than the context of {}",
         job.checkpoint.path().string(), length, spec.context);
  }
  for (const std::vector<std::int32_t>& block : job.calibration) {
    for (const std::int32_t id : block) {
      if (id < 0 || id >= spec.vocab) {
        fail("{}: token id {} of the calibration text is not one of the vocabulary of {}",
             job.checkpoint.path().string(), id, spec.vocab);
      }
    }
  }
}

QuantizeReport quantize_model(const QuantizeJob& job, Compute& compute) {
  const Stopwatch stopwatch;
  const Checkpoint& checkpoint = job.checkpoint;
  if (checkpoint.is_quantized()) {
    fail("{}: is quantized already; quantize the original instead", checkpoint.path().string());
  }
  if (job.method.needs_calibration()) check_calibration(job);
  CheckpointDestination to = job.to;
  to.sources = checkpoint.source_paths();
  to.resumption.identity = identity_of(job, compute);
  CheckpointWriter writer(to, contents_of(job));
  write_tokenizer_files(checkpoint, writer.folder());
  if (!job.recipe.empty()) writer.write_file(kRecipeFile, job.recipe);
  QuantizeReport report;
  if (job.method.distillation) {
    write_distilled(job, compute, to.resumption, writer, report);
  } else {
    write_rounded(job, compute, writer, report);
  }
  report.bits_per_weight = bits_per_weight(checkpoint.spec(), job.plan);
  report.file_bits_per_parameter = 8.0 * static_cast<double>(report.bytes_out) /
                                   static_cast<double>(parameter_count(checkpoint.spec()));
  report.seconds = stopwatch.seconds();
  const Stopwatch sync_stopwatch;
  writer.commit();
  report.sync_seconds = sync_stopwatch.seconds();
  return report;
}

QuantizeReport quantize_model(const Checkpoint& checkpoint, const QuantizePlan& plan,
                              Compute& compute, CheckpointDestination to) {
  return quantize_model({.checkpoint = checkpoint,
                         .plan = plan,
                         .method = {.blocks = {.rounder = make_per_group_rounder()}},
                         .calibration = {},
                         .to = std::move(to)},
                        compute);
}

}  // namespace nibble
