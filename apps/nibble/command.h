// What the sub-commands share: flags, and how results, remarks and errors are shown. Each
// sub-command is one file that adds itself to the parser and names the function to run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flags.h"
#include "nibble/core/json.h"
#include "nibble/runtime/model.h"

namespace nibble::cli {

/// Flags that every sub-command has.
struct CommonFlags {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  int threads = 0;
  std::uint64_t seed = 0;
};

/// Flags that say how to compute.
struct ComputeFlags {
  std::string dtype = "bf16";
  std::string activations;  // "": as the checkpoint says
  std::string kv = "bf16";
  std::int64_t context = 0;  // 0: the model's
  FusionSet fusion = FusionSet::all();

  std::optional<ActivationType> activation_type() const;
  KvType kv_type() const;
  ComputeOptions options() const;
};

/// Adds -q, -v, --threads, --seed and --json to a sub-command.
void add_common_flags(const Command& command, CommonFlags& flags);
/// Adds --dtype. `description` says what it means to the command, if it is not what dense weights
/// are rounded to.
void add_dtype_flag(
    const Command& command, std::string& dtype,
    const std::string& description = "What weights that are not quantized are rounded to");
/// Adds --dtype, --activations, --kv and -c/--context.
void add_compute_flags(const Command& command, ComputeFlags& flags);
/// Adds the MODEL argument.
void add_model_argument(const Command& command, std::string& model);
DType parse_dtype(const std::string& name);

/// A text given as an argument, by -f FILE, or as "-" on standard input.
struct TextFlags {
  std::string text;
  std::string file;
  bool given = false;

  /// The text. Throws Error if the file cannot be read.
  std::string read() const;
};
/// Adds an optional argument `name` and -f/--file; exactly one of them must be given.
void add_text_argument(const Command& command, TextFlags& flags, const std::string& name,
                       const std::string& description);

/// The integers of "1,2,3", of which there must be one at least. Throws UsageError naming
/// `option` for anything that is not an integer of lo..hi.
std::vector<std::int64_t> parse_integers(const std::string& option, const std::string& text,
                                         std::int64_t lo, std::int64_t hi);

/// The bytes of "500M", "1.5G" or "4GiB" (units of 1024), which must be above 0. Throws UsageError
/// naming `option` for anything else.
std::int64_t parse_size(const std::string& option, const std::string& text);

/// Prints a JSON document on standard output.
void print_json(const Json& json);
/// Prints a piece of text on standard output at once. Throws Error if it cannot be written.
void print_text(std::string_view text);

// One a sub-command (the file of its name).
void add_run(CommandLine& line, CommonFlags& common);
void add_chat(CommandLine& line, CommonFlags& common);
void add_quantize(CommandLine& line, CommonFlags& common);
void add_eval(CommandLine& line, CommonFlags& common);
void add_logits(CommandLine& line, CommonFlags& common);
void add_tokenize(CommandLine& line, CommonFlags& common);
void add_detokenize(CommandLine& line, CommonFlags& common);
void add_template(CommandLine& line, CommonFlags& common);
void add_inspect(CommandLine& line, CommonFlags& common);
void add_init(CommandLine& line, CommonFlags& common);
void add_info(CommandLine& line, CommonFlags& common);
void add_bench(CommandLine& line, CommonFlags& common);
void add_export(CommandLine& line, CommonFlags& common);
void add_profile(CommandLine& line, CommonFlags& common);
void add_report(CommandLine& line, CommonFlags& common);
void add_npu(CommandLine& line, CommonFlags& common);
void add_run_awq(CommandLine& line, CommonFlags& common);
void add_run_smoothquant(CommandLine& line, CommonFlags& common);

}  // namespace nibble::cli
