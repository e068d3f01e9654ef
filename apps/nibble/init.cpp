// nibble init: a model with random weights, for measuring speed and size without a download.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/models/inspection.h"
#include "nibble/quant/random_model.h"

namespace nibble::cli {
namespace {

constexpr const char kInitNotes[] =
    "For measuring speed and size without a download: the config's shapes, random\n"
    "weights with a standard deviation of 0.02 packed at once, norms of 1, biases of\n"
    "0. Files of a tokenizer beside the config are copied. Where the group size does\n"
    "not divide a layer, the largest of 128, 64, 32 that does is taken for it. w8a16\n"
    "and w8a8 are the same weights, with one scale for each output channel; w8a8 says\n"
    "in config.json that inputs of layers are int8, but for the head's.";

struct InitFlags {
  std::string config;
  std::string output;
  std::string precision = "w4abf16";
  std::string head = "quantized";
  RandomModelOptions options;
  bool force = false;
};

int bits_of(const std::string& precision) {
  if (precision == "w4abf16") return 4;
  if (precision == "w3abf16") return 3;
  return precision == "bf16" ? 16 : 8;
}

void init(const InitFlags& flags, const CommonFlags& common) {
  const Stopwatch stopwatch;
  RandomModelOptions options = flags.options;
  options.bits = bits_of(flags.precision);
  if (flags.precision == "w8a8") options.activations = ActivationType::kInt8;
  options.quantize_head = flags.head == "quantized";
  options.seed = common.seed;
  ThreadPool pool(common.threads);
  const RandomModelReport report =
      write_random_model(locate_model(flags.config), options, pool, flags.output, flags.force);
  const double seconds = stopwatch.seconds();
  const Inspection made = inspect(Checkpoint(flags.output), DType::kBF16);
  for (const std::string& note : report.notes) warn("{}", note);
  if (common.json) {
    print_json({{"output", flags.output},
                {"precision", flags.precision},
                {"seconds", seconds},
                {"parameters", made.parameters},
                {"bytes_out", report.bytes_out},
                {"bits_per_weight", made.token.bits_per_weight()},
                {"notes", report.notes}});
    return;
  }
  fmt::print("{}: {} parameters, {}, {:.3f} bits a weight read for a token, in {:.1f} s\n",
             flags.output, made.parameters, human_bytes(static_cast<double>(report.bytes_out)),
             made.token.bits_per_weight(), seconds);
}

}  // namespace

void add_init(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("init", "Write a model with random weights");
  auto flags = std::make_shared<InitFlags>();
  command
      .add("CONFIG_DIR", flags->config,
           "A folder with a config.json, that file, or a model's name as other commands take it")
      .required();
  command.add("-o,--output", flags->output, "The folder to write").required();
  command.add("--precision", flags->precision, "Of the linear layers")
      .one_of({"bf16", "w4abf16", "w3abf16", "w8a16", "w8a8"})
      .show_default();
  command.add("--group-size", flags->options.group_size, "Input channels that share a scale")
      .one_of({32, 64, 128})
      .show_default();
  command.add("--head", flags->head, "Pack lm_head like the other layers, or keep it bf16")
      .one_of({"bf16", "quantized"})
      .show_default();
  const Flag head_group =
      command
          .add("--head-group-size", flags->options.outer_group_size,
               "The same of lm_head, as awqplus leaves it with 32 (default: --group-size)")
          .one_of({32, 64, 128});
  command.add_switch("--force", flags->force, "Replace the output folder if it exists");
  command.check([flags, head_group] {
    if (!head_group.given()) return;
    if (flags->head == "bf16" || flags->precision == "bf16") {
      throw UsageError("--head-group-size is of a quantized head, not of one in bf16");
    }
    if (bits_of(flags->precision) == 8) {
      throw UsageError("--head-group-size is of 3 and 4 bits: 8 have one scale a channel");
    }
  });
  add_common_flags(command, common);
  command.set_example("nibble init Llama-3.2-1B -o random-1B-w4 --precision w4abf16", kInitNotes);
  command.set_action([flags, &common] { init(*flags, common); });
}

}  // namespace nibble::cli
