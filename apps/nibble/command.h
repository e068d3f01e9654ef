// What the sub-commands share: flags, and how results, remarks and errors are shown. Each
// sub-command is one file that adds itself to the parser and names the function to run.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

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
  std::string activations = "bf16";
  std::string kv = "bf16";
  std::int64_t context = 0;  // 0: the model's

  ActivationType activation_type() const;
  KvType kv_type() const;
  ComputeOptions options() const;
};

/// Refuses numbers outside lo..hi. Help does not show the bounds: they only catch slips.
CLI::Validator in_range(std::int64_t lo, std::int64_t hi);

/// Adds -q, -v, --threads, --seed and --json to a sub-command.
void add_common_flags(CLI::App& command, CommonFlags& flags);
/// Adds --dtype. `description` says what it means to the command, if it is not what dense weights
/// are rounded to.
void add_dtype_flag(
    CLI::App& command, std::string& dtype,
    const std::string& description = "What weights that are not quantized are rounded to");
/// Adds --dtype, --activations, --kv and -c/--context.
void add_compute_flags(CLI::App& command, ComputeFlags& flags);
/// Adds the MODEL argument.
void add_model_argument(CLI::App& command, std::string& model);
/// Ends the help of a sub-command with an example, and before it with `notes`, one to a few
/// paragraphs with an empty line between them.
void set_example(CLI::App& command, const std::string& example, const std::string& notes = "");

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
void add_text_argument(CLI::App& command, TextFlags& flags, const std::string& name,
                       const std::string& description);

/// The integers of "1,2,3", of which there must be one at least. Throws CLI::ValidationError naming
/// `option` for anything that is not an integer of lo..hi.
std::vector<std::int64_t> parse_integers(const std::string& option, const std::string& text,
                                         std::int64_t lo, std::int64_t hi);

/// CLI11's help with long descriptions broken into lines of 80 characters.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override;
};

/// Prints a JSON document on standard output.
void print_json(const Json& json);
/// Prints a piece of text on standard output at once. Throws Error if it cannot be written.
void print_text(std::string_view text);

/// What main() runs: set by the callback of the sub-command chosen.
using Action = std::function<void()>;

// One a sub-command (the file of its name).
void add_run(CLI::App& app, CommonFlags& common, Action& action);
void add_chat(CLI::App& app, CommonFlags& common, Action& action);
void add_quantize(CLI::App& app, CommonFlags& common, Action& action);
void add_eval(CLI::App& app, CommonFlags& common, Action& action);
void add_logits(CLI::App& app, CommonFlags& common, Action& action);
void add_tokenize(CLI::App& app, CommonFlags& common, Action& action);
void add_detokenize(CLI::App& app, CommonFlags& common, Action& action);
void add_template(CLI::App& app, CommonFlags& common, Action& action);
void add_inspect(CLI::App& app, CommonFlags& common, Action& action);
void add_init(CLI::App& app, CommonFlags& common, Action& action);
void add_info(CLI::App& app, CommonFlags& common, Action& action);
void add_bench(CLI::App& app, CommonFlags& common, Action& action);
void add_export(CLI::App& app, CommonFlags& common, Action& action);
void add_profile(CLI::App& app, CommonFlags& common, Action& action);

}  // namespace nibble::cli
