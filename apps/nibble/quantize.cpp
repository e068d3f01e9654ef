// nibble quantize: writes a quantized checkpoint.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/output.h"
#include "nibble/core/process.h"
#include "nibble/core/progress.h"
#include "nibble/core/sha256.h"
#include "nibble/kernels/select.h"
#include "nibble/models/recipe_files.h"
#include "nibble/quant/cost.h"
#include "nibble/quant/forecast.h"
#include "nibble/quant/pipeline.h"
#include "nibble/quant/target_bits.h"
#include "quality_report.h"
#include "quantize_method.h"
#include "tensor_table.h"

namespace nibble::cli {
namespace {

struct QuantizeFlags {
  std::string model;
  std::string output;
  MethodFlags method;
  std::string dtype = "bf16";
  std::string head;
  std::string embedding = "bf16";
  QuantizeOptions options;
  std::string recipe;
  std::int64_t max_memory = 0;
  std::optional<double> target_bpw;
  bool force = false;
  bool resume = false;
  bool dry_run = false;
};

Json report_json(const QuantizeFlags& flags, const QuantizeReport& report,
                 const QuantizePlan& plan) {
  Json tensors = Json::array();
  for (const WrittenTensor& tensor : report.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"shape", tensor.shape},
                       {"bits", tensor.bits},
                       {"group_size", tensor.group_size},
                       {"rel_error", tensor.error.relative()},
                       {"clipped_groups", tensor.error.clipped_groups}});
  }
  return {{"output", flags.output},
          {"algorithm", flags.method.algorithm},
          {"seconds", report.seconds},
          {"sync_seconds", report.sync_seconds},
          {"peak_rss_bytes", peak_rss_bytes()},
          {"bytes_in", report.bytes_in},
          {"bytes_out", report.bytes_out},
          {"bits_per_weight", report.bits_per_weight},
          {"file_bits_per_parameter", report.file_bits_per_parameter},
          {"notes", plan.notes},
          {"tensors", std::move(tensors)}};
}

/// "w4 g128"; "w8", which has no groups.
std::string format_text(int bits, int group_size) {
  return group_size > 0 ? fmt::format("w{} g{}", bits, group_size) : fmt::format("w{}", bits);
}

/// "30 layers at w4 g128, 6 at w4 g64": a group size may have given way to a smaller one.
std::string formats_text(const std::vector<WrittenTensor>& tensors) {
  std::map<std::pair<int, int>, std::int64_t, std::greater<>> counts;
  for (const WrittenTensor& tensor : tensors) ++counts[{tensor.bits, tensor.group_size}];
  std::string text;
  for (const auto& [format, count] : counts) {
    const char* const noun = !text.empty() ? "" : count == 1 ? " layer" : " layers";
    text += fmt::format("{}{}{} at {}", text.empty() ? "" : ", ", count, noun,
                        format_text(format.first, format.second));
  }
  return text.empty() ? "no layers" : text;
}

/// "12 s", "3 min", "2.5 h".
std::string duration_text(double seconds) {
  if (seconds < 100) return fmt::format("{:.0f} s", std::max(1.0, seconds));
  if (seconds < 6000) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

/// Of a report or a forecast.
void print_sizes(const auto& result) {
  fmt::print("  size            {} from {}\n", human_bytes(static_cast<double>(result.bytes_out)),
             human_bytes(static_cast<double>(result.bytes_in)));
  fmt::print("  bits a weight   {:.3f} read for a token, {:.3f} in the file\n",
             result.bits_per_weight, result.file_bits_per_parameter);
}

void print_report(const QuantizeFlags& flags, const QuantizeReport& report) {
  RoundingError total;
  for (const WrittenTensor& tensor : report.tensors) total += tensor.error;
  fmt::print("{}: {}\n", flags.output, formats_text(report.tensors));
  print_sizes(report);
  fmt::print(
      "  relative error  {:.4f} (root mean square of the rounding over that of the weights)\n",
      total.relative());
  if (total.clipped_groups > 0) {
    fmt::print("  clipped groups  {} (all their weights have one sign)\n", total.clipped_groups);
  }
  fmt::print("  time            {:.1f} s, and {:.1f} s to sync; peak memory {}\n", report.seconds,
             report.sync_seconds, human_bytes(static_cast<double>(peak_rss_bytes())));
}

/// What a dry run tells.
struct DryRun {
  const QuantizePlan& plan;
  QuantizeForecast forecast;
  QuantizeCost cost;
};

Json dry_run_json(const DryRun& run) {
  const auto& [plan, forecast, cost] = run;
  const PackedLayouts layouts = plan.packed_layouts();
  Json tensors = Json::array();
  for (const StoredParameter& tensor : forecast.tensors) {
    Json entry = {{"name", tensor.name},
                  {"shape", tensor.shape},
                  {"format", tensor.format},
                  {"bytes", tensor.bytes}};
    if (tensor.is_quantized) {
      entry["bits"] = codec_of(layouts.at(tensor.module.name).format).bits;
    }
    if (tensor.group_size > 0) entry["group_size"] = tensor.group_size;
    tensors.push_back(std::move(entry));
  }
  return {{"notes", plan.notes},
          {"bytes_in", forecast.bytes_in},
          {"bytes_out", forecast.bytes_out},
          {"bits_per_weight", forecast.bits_per_weight},
          {"file_bits_per_parameter", forecast.file_bits_per_parameter},
          {"seconds", cost.seconds},
          {"peak_rss_bytes", cost.memory_bytes},
          {"spilled_bytes", cost.spilled_bytes},
          {"tensors", std::move(tensors)}};
}

void print_dry_run(const DryRun& run) {
  fmt::print("{}\n", tensor_table(run.forecast.tensors).text());
  print_sizes(run.forecast);
  fmt::print("  time            about {} of computing here and now\n",
             duration_text(run.cost.seconds));
  fmt::print("  peak memory     about {}\n",
             human_bytes(static_cast<double>(run.cost.memory_bytes)));
  if (run.cost.spilled_bytes == 0) return;
  fmt::print("  temporary file  {} of activations\n",
             human_bytes(static_cast<double>(run.cost.spilled_bytes)));
}

/// Of token ids, in blocks.
std::string digest_of(const std::vector<std::vector<std::int32_t>>& ids) {
  std::string bytes;
  for (const std::vector<std::int32_t>& block : ids) {
    bytes.append(reinterpret_cast<const char*>(block.data()), block.size() * sizeof(block[0]));
  }
  return sha256_hex(bytes);
}

/// What this run is told and what it read. Throws Error if a recipe that is followed says that it
/// was something else.
std::string recipe_text(const RecipeFlags& recipe, const ChosenMethod& chosen,
                        const QuantizeJob& job, const Compute& compute) {
  Json json = recipe.recipe();
  std::map<std::string, std::string> digests = chosen.digests;
  if (!job.calibration.empty()) digests["tokens"] = digest_of(job.calibration);
  for (const auto& [of, digest] : digests) {
    recipe.check_digest(of, digest);
    json["sha256"][of] = digest;
  }
  json["kernels"] = compute.kernels().name;
  return json_text(json) + "\n";
}

/// Compares what was written with its source, on some of the calibration text and on what comes
/// behind it; there is nothing to compare on where nothing was calibrated.
Quality compare(const QuantizeFlags& flags, const CommonFlags& common, const QuantizeJob& job,
                const std::filesystem::path& output, Compute& compute) {
  if (job.calibration.empty()) return {};
  MethodFlags longer = flags.method;
  longer.calibration.n_samples += kHeldOutBlocks;
  std::vector<std::vector<std::int32_t>> more;
  try {
    more = make_calibration(longer, common, job.checkpoint);
  } catch (const Error&) {  // that is all there is of a text
  }
  const Checkpoint written(output);
  return measure_quality(job.checkpoint, written, compute, job.plan.options.dtype,
                         quality_texts(job.calibration, more));
}

void write_text_file(const std::filesystem::path& path, const std::string& text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

std::filesystem::path full_path(const std::string& path) {
  return std::filesystem::current_path() / path;
}

/// Says what was left to us, and where files are for whoever goes on with the recipe elsewhere.
void settle(QuantizeFlags& flags) {
  const bool keeps_head =
      flags.method.algorithm == "awq" || flags.method.algorithm == "smoothquant";
  if (flags.head.empty()) flags.head = keeps_head ? "bf16" : "quantized";
  for (std::string& text : flags.method.texts) {
    const std::string file = parse_calibration_text(text).file.string();
    text = full_path(file).string() + text.substr(file.size());
  }
  for (std::string* file : {&flags.method.awq_cache, &flags.method.maxima}) {
    if (!file->empty()) *file = full_path(*file).string();
  }
}

void quantize(const QuantizeFlags& flags, const CommonFlags& common, const RecipeFlags& recipe) {
  const Checkpoint checkpoint(locate_model(flags.model));
  QuantizeOptions options = flags.options;
  options.dtype = parse_dtype(flags.dtype);
  options.quantize_head = flags.head == "quantized";
  choose_layers(flags.method, options);
  options.embedding = flags.embedding == "int8"   ? EmbeddingStorage::kInt8
                      : flags.embedding == "head" ? EmbeddingStorage::kHead
                                                  : EmbeddingStorage::kDense;
  QuantizePlan plan = plan_quantization(checkpoint.spec(), options);
  const auto show_notes = [&] {
    for (const std::string& note : plan.notes) warn("{}", note);
  };
  const ChosenMethod chosen = choose_method(flags.method, checkpoint.spec());
  QuantizeJob job{.checkpoint = checkpoint,
                  .plan = plan,
                  .method = chosen.method,
                  .calibration = {},
                  .to = {.path = flags.output,
                         .replace = flags.force,
                         .sources = {},
                         .resumption = {.resume = flags.resume}},
                  .max_memory = flags.max_memory};
  ThreadPool pool(common.threads);
  Compute compute(select_kernels(), pool);
  if (!flags.dry_run) check_kept_file(flags.method, flags.output);
  const bool reads_texts = job.method.needs_calibration() || flags.target_bpw;
  if (reads_texts && (!flags.dry_run || flags.target_bpw)) {
    job.calibration = make_calibration(flags.method, common, checkpoint);
    check_calibration(job);
  }
  if (flags.target_bpw) {
    choose_formats(checkpoint.spec(), measure_formats(checkpoint, plan, job.calibration, compute),
                   *flags.target_bpw, plan);
  }
  if (flags.dry_run) {
    const CalibrationSize size{flags.method.calibration.n_samples,
                               flags.method.calibration.seq_len};
    const DryRun run{plan, forecast_quantization(checkpoint, plan),
                     estimate_cost(job, size, compute)};
    show_notes();
    common.json ? print_json(dry_run_json(run)) : print_dry_run(run);
    return;
  }
  job.recipe = recipe_text(recipe, chosen, job, compute);
  // The output may take the place of the current folder, or of one that leads to it.
  const std::filesystem::path output = full_path(flags.output);
  const QuantizeReport report = quantize_model(job, compute);
  chosen.save();
  const Quality quality = compare(flags, common, job, output, compute);
  Json quality_of = quality_json(report, quality);
  write_text_file(output / kQualityFile, json_text(quality_of) + "\n");
  show_notes();  // only now: a failure is to be one line
  if (!common.json) {
    print_report(flags, report);
    return print_quality(report, quality);
  }
  Json json = report_json(flags, report, plan);
  for (const char* key : {"kl_divergence", "top1_agreement", "block_errors"}) {
    json[key] = quality_of[key];
  }
  print_json(json);
}

/// The flags that a result depends on, all of which were added.
std::shared_ptr<RecipeFlags> make_recipe(const Command& command,
                                         const std::shared_ptr<QuantizeFlags>& flags,
                                         const CommonFlags& common) {
  auto recipe = std::make_shared<RecipeFlags>();
  add_to_recipe(command, flags->method, *recipe);
  const QuantizeFlags& given = *flags;  // as long as the command line
  const auto has_groups = [&given] { return given.method.algorithm != "smoothquant"; };
  const auto has_bits = [&given, has_groups] { return has_groups() && !given.target_bpw; };
  const auto calibrates = [&given] { return needs_texts(given.method) || given.target_bpw; };
  const auto add = [&](const char* name, RecipeFlags::Value value, std::function<bool()> counts) {
    recipe->add(command.flag(name), name, value, std::move(counts));
  };
  add("--w-bit", &flags->options.bits, has_bits);
  add("--target-bpw", &flags->target_bpw, [&given] { return given.target_bpw.has_value(); });
  add("--group-size", &flags->options.group_size, has_groups);
  add("--head", &flags->head, {});
  add("--embedding", &flags->embedding, {});
  add("--exclude", &flags->options.exclude, {});
  add("--dtype", &flags->dtype, {});
  add("--calib", &flags->method.texts, calibrates);
  add("--n-samples", &flags->method.calibration.n_samples, calibrates);
  add("--seq-len", &flags->method.calibration.seq_len, calibrates);
  add("--seed", &common.seed, calibrates);
  return recipe;
}

}  // namespace

void add_quantize(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("quantize", "Write a quantized checkpoint");
  auto flags = std::make_shared<QuantizeFlags>();
  add_model_argument(command, flags->model);
  const Flag output = command.add("-o,--output", flags->output, "The folder to write");
  command.add("--algorithm", flags->method.algorithm, "How to quantize")
      .one_of({"pergrp", "awq", "awqplus", "smoothquant", "gptq", "best"})
      .show_default();
  add_method_flags(command, flags->method);
  const Flag bits =
      command.add("--w-bit", flags->options.bits, "Bits a weight").one_of({3, 4}).show_default();
  const Flag target =
      command
          .add("--target-bpw", flags->target_bpw,
               "Of pergrp, gptq and best: 3, 4 or 8 bits for each layer, by what each was measured "
               "to lose, so that no more than so many bits a weight are read for a token")
          .in_interval(1, 16);
  command
      .add("--group-size", flags->options.group_size,
           "Input channels that share a scale; where it does not divide a layer, the largest "
           "of 128, 64, 32 that does")
      .one_of({32, 64, 128})
      .show_default();
  command
      .add("--head", flags->head,
           "Quantize lm_head too, or keep it (by default awq and smoothquant keep it)")
      .one_of({"bf16", "quantized"});
  command
      .add("--embedding", flags->embedding,
           "Keep the embedding, make its rows int8 with a scale each, or look rows up in the "
           "quantized head of a tied model")
      .one_of({"bf16", "int8", "head"})
      .show_default();
  command
      .add("--exclude", flags->options.exclude,
           "Keep layers of this name (* stands for anything; may be given several times)")
      .one_value_each_time();
  add_dtype_flag(command, flags->dtype);
  command.add_parsed(
      "--max-memory",
      [flags](const std::string& text) { flags->max_memory = parse_size("--max-memory", text); },
      "What may be resident (4G, 500M): calibration's activations beyond it go to a temporary file "
      "beside the output [three quarters of what is free]");
  command.add_switch("--force", flags->force, "Replace the output folder if it exists");
  command.add_switch("--resume", flags->resume,
                     "Go on with what an unfinished run of the same options left; and leave what "
                     "is done if this one does not finish");
  const Flag dry_run =
      command.add_switch("--dry-run", flags->dry_run,
                         "Show what would become of each tensor, and how long that would take, "
                         "and stop");
  command.check([flags, output, dry_run, bits, target] {
    if (!output.given() && !dry_run.given()) throw UsageError("--output is required");
    if (!target.given()) return;
    if (bits.given())
      throw UsageError("--target-bpw chooses what --w-bit would be: give one of them");
    const std::string& algorithm = flags->method.algorithm;
    if (algorithm != "pergrp" && algorithm != "gptq" && algorithm != "best") {
      throw UsageError(fmt::format("--target-bpw is for pergrp, gptq and best, not {}", algorithm));
    }
  });
  command.add("--recipe", flags->recipe,
              "A recipe.json that an earlier run wrote: its flags, unless given here");
  add_common_flags(command, common);
  const auto recipe = make_recipe(command, flags, common);
  command.set_example("nibble quantize Llama-3.2-1B -o Llama-3.2-1B-w4 --w-bit 4 --group-size 128");
  command.set_action([flags, recipe, &common] {
    if (!flags->recipe.empty()) recipe->read(flags->recipe);
    settle(*flags);
    quantize(*flags, common, *recipe);
  });
}

}  // namespace nibble::cli
