#include "nibble/quant/pipeline.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/output.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/models/companions.h"
#include "nibble/models/token_cost.h"
#include "nibble/quant/learning/write_learned.h"
#include "nibble/quant/model_folder.h"

namespace nibble {
namespace {

/// Parameters of the tensors that will be read: those of a tied head count twice, as work.
std::int64_t work_of(const ModelSpec& spec, const QuantizePlan& plan) {
  std::int64_t work = 0;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.packed) work += layer.linear.out * layer.linear.in;
  }
  for (const Parameter& tensor : dense_parameters(spec, plan)) {
    work += tensor.count();
  }
  return work;
}

void add_sizes(const ModelSpec& spec, const QuantizePlan& plan, QuantizeReport& report) {
  std::vector<LinearCost> costs;
  for (const LayerPlan& layer : plan.layers) {
    const auto layout = layer.packed ? std::optional(layer.layout) : std::nullopt;
    costs.push_back(linear_cost(layer.linear, layout, plan.options.dtype));
  }
  report.bits_per_weight = token_cost(spec, costs).bits_per_weight();
  report.file_bits_per_parameter =
      8.0 * static_cast<double>(report.bytes_out) / static_cast<double>(parameter_count(spec));
}

/// Layer by layer as the checkpoint has them.
void write_layers(const QuantizeJob& job, Compute& compute, TensorWriter& writer,
                  std::vector<QuantizedTensor>& tensors) {
  const auto rounder = job.method.blocks.rounder->prepare(compute, {});
  for (const LayerPlan& layer : job.plan.layers) {
    if (layer.packed) tensors.push_back(writer.write_packed(layer, *rounder));
  }
}

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

/// Rounds and writes all tensors into `file`.
void write_rounded(const QuantizeJob& job, Compute& compute, const std::filesystem::path& file,
                   QuantizeReport& report) {
  const ModelSpec& spec = job.checkpoint.spec();
  Progress progress("quantizing", work_of(spec, job.plan), "weights");
  TensorWriter writer(job.checkpoint, job.plan, compute, file, progress);
  RewrittenParameters rewritten;
  if (job.method.blocks.goes_by_blocks()) {
    BlockQuantizer quantizer(job.checkpoint, job.plan, job.method.blocks, compute, writer);
    rewritten = quantizer.run(job.calibration, report.tensors);
  } else {
    write_layers(job, compute, writer, report.tensors);
  }
  writer.write_dense(rewritten);
  report.bytes_in = writer.bytes_in();
  report.bytes_out = writer.bytes_out();
  const Stopwatch stopwatch;
  writer.commit();
  report.sync_seconds += stopwatch.seconds();
}

/// Learns what there is to be learned in the folder `rounded` and writes all tensors into `file`.
void write_distilled(const QuantizeJob& job, Compute& compute, const std::filesystem::path& rounded,
                     const std::filesystem::path& file) {
  const DistillationOptions& options = *job.method.distillation;
  const Checkpoint quantized(rounded);
  Distillation distillation(job.checkpoint, quantized, compute, job.plan.options.dtype);
  const auto blocks = static_cast<std::int64_t>(job.calibration.size());
  Progress progress("learning", std::max<std::int64_t>(1, blocks / options.batch), "steps");
  distillation.run(job.calibration, options, [&](double divergence) {
    progress.set_note(fmt::format("KL divergence {:.3f}", divergence));
    progress.advance(1);
    verbose("learning: KL divergence {:.4f}", divergence);
  });
  write_learned(quantized, job.plan, distillation, file);
}

}  // namespace

QuantizeReport quantize_model(const QuantizeJob& job, Compute& compute) {
  const Stopwatch stopwatch;
  const Checkpoint& checkpoint = job.checkpoint;
  if (checkpoint.is_quantized()) {
    fail("{}: is quantized already; quantize the original instead", checkpoint.path().string());
  }
  if (job.method.needs_calibration()) check_calibration(job);
  OutputFolder folder(job.out, job.replace);
  check_not_model(checkpoint.path(), job.out);
  QuantizeReport report;
  write_config(checkpoint.config(), job.plan, job.method.algorithm, folder.temporary());
  const std::filesystem::path file = folder.temporary() / "model.safetensors";
  if (job.method.distillation) {
    const std::filesystem::path rounded = folder.temporary() / "rounded";
    std::filesystem::create_directory(rounded);
    write_config(checkpoint.config(), job.plan, job.method.algorithm, rounded);
    write_rounded(job, compute, rounded / "model.safetensors", report);
    write_distilled(job, compute, rounded, file);
    std::filesystem::remove_all(rounded);
  } else {
    write_rounded(job, compute, file, report);
  }
  write_companions(checkpoint, folder.temporary());
  add_sizes(checkpoint.spec(), job.plan, report);
  report.seconds = stopwatch.seconds() - report.sync_seconds;
  const Stopwatch sync_stopwatch;
  folder.commit();
  report.sync_seconds += sync_stopwatch.seconds();
  return report;
}

QuantizeReport quantize_model(const Checkpoint& checkpoint, const QuantizePlan& plan,
                              Compute& compute, const std::filesystem::path& out, bool replace) {
  return quantize_model({.checkpoint = checkpoint,
                         .plan = plan,
                         .method = {.blocks = {.rounder = make_per_group_rounder()}},
                         .calibration = {},
                         .out = out,
                         .replace = replace},
                        compute);
}

}  // namespace nibble
