#include "quantize_method.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/output.h"
#include "nibble/core/sha256.h"
#include "nibble/quant/transforms/awq_file.h"
#include "nibble/quant/transforms/smooth_quant.h"

namespace nibble::cli {
namespace {

bool is_awq(const MethodFlags& flags) {
  return flags.algorithm == "awq" || flags.algorithm == "awqplus";
}

/// The file of an earlier search or run, if the flag names one that there is.
bool has_saved(const std::string& file) {
  return !file.empty() && file_exists(file);
}

std::unique_ptr<Rounder> best_rounder(const MethodFlags& flags) {
  return make_best_rounder({.compensates = flags.effort != "light",
                            .shrinkage = static_cast<float>(flags.shrinkage),
                            .refinements = flags.refinements,
                            .correction = static_cast<float>(flags.correction)});
}

ChosenMethod choose_best(const MethodFlags& flags) {
  ChosenMethod chosen;
  chosen.method.blocks.rounder = best_rounder(flags);
  if (flags.effort == "max") {
    chosen.method.distillation =
        DistillationOptions{.rate = static_cast<float>(flags.learning_rate)};
  }
  return chosen;
}

std::unique_ptr<Rounder> awq_rounder(const MethodFlags& flags) {
  if (flags.rounder == "gptq") return make_gptq_rounder();
  return flags.rounder == "best" ? best_rounder(flags) : make_per_group_rounder();
}

ChosenMethod choose_awq(const MethodFlags& flags, const ModelSpec& spec) {
  ChosenMethod chosen;
  chosen.method.blocks.rounder = awq_rounder(flags);
  if (has_saved(flags.awq_cache)) {
    const auto searched = std::make_shared<const AwqSearch>(read_awq_search(flags.awq_cache, spec));
    chosen.method.blocks.transforms = {make_awq(searched)};
    chosen.digests["awq_cache"] = sha256_hex(read_text_file(flags.awq_cache));
    chosen.save = [file = flags.awq_cache] { warn("{}: the searches in it were used", file); };
    return chosen;
  }
  const auto found = std::make_shared<AwqSearch>();
  chosen.method.blocks.transforms = {make_awq({.exhaustive = flags.exhaustive}, found)};
  if (flags.awq_cache.empty()) return chosen;
  chosen.save = [file = flags.awq_cache, found, spec] {
    if (std::ssize(found->blocks) == spec.n_layers) return write_awq_search(file, spec, *found);
    warn("{}: not written, as the searches of the run that was resumed are not known", file);
  };
  return chosen;
}

ChosenMethod choose_smooth_quant(const MethodFlags& flags, const ModelSpec& spec) {
  ChosenMethod chosen;
  chosen.method.blocks.rounder = make_per_group_rounder();
  const auto alpha = static_cast<float>(flags.alpha);
  if (has_saved(flags.maxima)) {
    const auto maxima =
        std::make_shared<const ActivationMaxima>(read_activation_maxima(flags.maxima));
    chosen.method.blocks.transforms = {make_smooth_quant(alpha, maxima, flags.maxima)};
    chosen.digests["act_scales"] = sha256_hex(read_text_file(flags.maxima));
    chosen.save = [file = flags.maxima] { warn("{}: the maxima in it were used", file); };
    return chosen;
  }
  const auto found = std::make_shared<ActivationMaxima>();
  chosen.method.blocks.transforms = {make_smooth_quant(alpha, found)};
  if (flags.maxima.empty()) return chosen;
  chosen.save = [file = flags.maxima, found, spec] {
    const std::string first = spec.block_module(ModuleRole::kQ, 0);
    if (found->contains(first)) return write_activation_maxima(file, *found);
    warn("{}: not written, as the maxima of the run that was resumed are not known", file);
  };
  return chosen;
}

void add_best_flags(const Command& command, MethodFlags& flags) {
  command
      .add("--effort", flags.effort,
           "Of best: light searches ranges; normal rounds by GPTQ, refined, too; max learns scales "
           "and norms from end to end besides")
      .one_of({"light", "normal", "max"})
      .show_default();
  command
      .add("--shrinkage", flags.shrinkage,
           "Of best: how far the inputs' correlations are shrunk, 0 to 1")
      .in_interval(0, 1)
      .show_default();
  command
      .add("--correction", flags.correction,
           "Of best: how much of earlier layers' errors is corrected for, 0 to 1")
      .in_interval(0, 1)
      .show_default();
  command
      .add("--refinements", flags.refinements,
           "Of best: rounds of fitting scales and moving single weights")
      .in_range(0, 100)
      .show_default();
  command
      .add("--learning-rate", flags.learning_rate,
           "Of best at max: by how much of itself a scale moves in a step at the most")
      .in_interval(0, 1)
      .show_default();
}

void add_awq_flags(const Command& command, MethodFlags& flags) {
  command.add("--awq-cache", flags.awq_cache,
              "Of awq and awqplus: a file of searches, used if it is there (ours, or a .pt file of "
              "the AWQ model zoo), else written");
  command
      .add("--rounder", flags.rounder,
           "Of awq and awqplus: what rounds the scaled weights; best as its own flags say")
      .one_of({"nearest", "gptq", "best"})
      .show_default();
  command.add_switch("--exhaustive", flags.exhaustive,
                     "Of awq and awqplus: try every scale on every token, however far behind");
}

void add_smooth_quant_flags(const Command& command, MethodFlags& flags) {
  command
      .add("--precision", flags.precision, "Of smoothquant: whether activations are int8 as well")
      .one_of({"w8a8", "w8a16"})
      .show_default();
  command
      .add("--alpha", flags.alpha,
           "Of smoothquant: how much of the activations' spread goes into the weights, 0 to 1")
      .in_interval(0, 1)
      .show_default();
  command
      .add("--weight-scale", flags.weight_scale, "Of smoothquant: what shares a scale of weights")
      .one_of({"channel", "tensor"})
      .show_default();
  command
      .add("--activation-scale", flags.activation_scale,
           "Of smoothquant with w8a8: what shares a scale of activations")
      .one_of({"token", "tensor"})
      .show_default();
  command.add("--act-scales", flags.maxima,
              "Of smoothquant: a file of the activations' maxima, used if it is there (ours, or a "
              "published .pt file), else written");
}

}  // namespace

void add_method_flags(const Command& command, MethodFlags& flags) {
  add_best_flags(command, flags);
  add_awq_flags(command, flags);
  add_smooth_quant_flags(command, flags);
  command
      .add("--calib", flags.texts,
           "What to calibrate on, FILE or FILE:SHARE: a text, a .jsonl file with \"text\" or "
           "\"messages\" in each line, or a .npy file of token ids; several are taken in turn by "
           "their shares (may be given several times). By default a mixed text that Nibble has")
      .one_value_each_time();
  command.add("--n-samples", flags.calibration.n_samples, "Blocks of calibration text")
      .in_range(1, 1 << 20)
      .show_default();
  command.add("--seq-len", flags.calibration.seq_len, "Tokens of a block of calibration text")
      .in_range(1, 1 << 20)
      .show_default();
}

void add_to_recipe(const Command& command, const MethodFlags& flags, RecipeFlags& recipe) {
  const auto add = [&](const char* name, RecipeFlags::Value value, std::function<bool()> counts) {
    recipe.add(command.flag(name), name, value, std::move(counts));
  };
  const auto of_best = [&flags] {
    return flags.algorithm == "best" || (is_awq(flags) && flags.rounder == "best");
  };
  const auto compensates = [&flags, of_best] { return of_best() && flags.effort != "light"; };
  const auto learns = [&flags] { return flags.algorithm == "best" && flags.effort == "max"; };
  const auto of_awq = [&flags] { return is_awq(flags); };
  const auto searched = [&flags] { return is_awq(flags) && has_saved(flags.awq_cache); };
  const auto searches = [&flags] { return is_awq(flags) && !has_saved(flags.awq_cache); };
  const auto smooths = [&flags] { return flags.algorithm == "smoothquant"; };
  const auto seen = [&flags, smooths] { return smooths() && has_saved(flags.maxima); };
  add("--algorithm", &flags.algorithm, {});
  add("--effort", &flags.effort, of_best);
  add("--shrinkage", &flags.shrinkage, compensates);
  add("--correction", &flags.correction, compensates);
  add("--refinements", &flags.refinements, compensates);
  add("--learning-rate", &flags.learning_rate, learns);
  add("--rounder", &flags.rounder, of_awq);
  add("--awq-cache", &flags.awq_cache, searched);
  add("--exhaustive", &flags.exhaustive, searches);
  add("--precision", &flags.precision, smooths);
  add("--alpha", &flags.alpha, smooths);
  add("--weight-scale", &flags.weight_scale, smooths);
  add("--activation-scale", &flags.activation_scale, smooths);
  add("--act-scales", &flags.maxima, seen);
}

void choose_layers(const MethodFlags& flags, QuantizeOptions& options) {
  if (flags.algorithm == "awqplus") options.outer_group_size = 32;
  if (flags.algorithm == "awq" || flags.algorithm == "smoothquant") {
    options.quantize_projections = options.quantize_head;
  }
  if (flags.algorithm != "smoothquant") return;
  options.bits = 8;
  options.shares_scale = flags.weight_scale == "tensor";
  if (flags.precision == "w8a8") {
    options.activations =
        flags.activation_scale == "tensor" ? ActivationType::kInt8Tensor : ActivationType::kInt8;
  }
}

bool needs_texts(const MethodFlags& flags) {
  if (is_awq(flags)) return !has_saved(flags.awq_cache) || flags.rounder != "nearest";
  if (flags.algorithm == "smoothquant") return !has_saved(flags.maxima);
  return flags.algorithm != "pergrp";
}

void check_kept_file(const MethodFlags& flags, const std::string& output) {
  const bool smooths = flags.algorithm == "smoothquant";
  const std::string& file = smooths ? flags.maxima : flags.awq_cache;
  if (file.empty() || has_saved(file) || !(smooths || is_awq(flags))) return;
  const auto folder = std::filesystem::weakly_canonical(std::filesystem::absolute(output));
  const auto place = std::filesystem::weakly_canonical(std::filesystem::absolute(file));
  if (std::mismatch(folder.begin(), folder.end(), place.begin(), place.end()).first ==
      folder.end()) {
    fail("{} {}: lies in the output, {}; expected another place",
         smooths ? "--act-scales" : "--awq-cache", file, output);
  }
  const OutputFile can_be_written(file);
}

ChosenMethod choose_method(const MethodFlags& flags, const ModelSpec& spec) {
  ChosenMethod chosen;
  if (flags.algorithm == "best") {
    chosen = choose_best(flags);
  } else if (is_awq(flags)) {
    chosen = choose_awq(flags, spec);
  } else if (flags.algorithm == "smoothquant") {
    chosen = choose_smooth_quant(flags, spec);
  } else {
    chosen.method.blocks.rounder =
        flags.algorithm == "gptq" ? make_gptq_rounder() : make_per_group_rounder();
  }
  // Searches compare small differences, and float32 products are as quick as bfloat16's or half.
  if (!chosen.method.blocks.transforms.empty()) {
    chosen.method.blocks.activations = ActivationType::kF32;
  }
  chosen.method.algorithm = flags.algorithm;
  return chosen;
}

}  // namespace nibble::cli
