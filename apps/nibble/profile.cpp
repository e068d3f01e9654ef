// nibble profile: where the time of prefill and decode goes, by operator and by layer.
#include "nibble/bench/profile.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "nibble/core/log.h"
#include "nibble/core/output.h"
#include "profile_tables.h"

namespace nibble::cli {
namespace {

constexpr const char kProfileNotes[] =
    "One prompt of random tokens, then steps of decode after it. Times and sizes are\n"
    "those of one pass: the whole prompt, or one step. GB/s count the weights, keys\n"
    "and values that an operator reads, beside the read bandwidth measured before and\n"
    "after decode; TOPS count its products, 2 for a multiply-add, beside the measured\n"
    "peak of the instruction that most of them use. What lies in the cache can be\n"
    "read faster than memory. The norm before a layer counts with it.\n\n"
    "--trace writes every pass, layer and operator for chrome://tracing or Perfetto.";

struct ProfileFlags {
  std::string model;
  std::string trace;
  ComputeFlags compute;
  ProfileOptions options;
};

void profile_model(const ProfileFlags& flags, const CommonFlags& common) {
  std::optional<OutputFile> trace;  // opened first: what cannot be written costs no measurement
  if (!flags.trace.empty()) trace.emplace(flags.trace);
  const ComputeOptions compute = flags.compute.options();
  ProfileOptions options = flags.options;
  options.context = flags.compute.context;
  options.seed = common.seed;
  ThreadPool pool(common.threads);
  Model model(locate_model(flags.model), pool, compute);
  const ProfileReport report = profile(model, compute, options);
  if (options.generate > 0 && !report.bandwidth_held) {
    warn("the memory bandwidth of this machine is too unsteady: it changed during decode");
  }
  if (trace) {
    trace->write(chrome_trace(report));
    trace->commit();
  }
  if (common.json) {
    Json json = profile_json(report);
    json["model"] = flags.model;
    json["kernels"] = model.compute().kernels().name;
    json["threads"] = model.compute().pool().size();
    json["activations"] = activation_type_name(model.activations());
    print_json(json);
  } else {
    print_profile(flags.model, model, report);
  }
}

}  // namespace

void add_profile(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("profile", "Show where the time of a model goes");
  auto flags = std::make_shared<ProfileFlags>();
  add_model_argument(command, flags->model);
  constexpr std::int64_t kMaxTokens = std::int64_t{1} << 30;
  command.add("-p,--prompt", flags->options.prompt, "Tokens of the prompt")
      .in_range(1, kMaxTokens)
      .show_default();
  command.add("-n,--generate", flags->options.generate, "Steps of decode (0: leave decode out)")
      .in_range(0, kMaxTokens)
      .show_default();
  command.add("--trace", flags->trace, "Write a trace in Chrome's JSON format to this file");
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example("nibble profile Llama-3.2-1B-w4 -p 512 --trace trace.json", kProfileNotes);
  command.set_action([flags, &common] { profile_model(*flags, common); });
}

}  // namespace nibble::cli
