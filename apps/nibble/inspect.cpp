// nibble inspect: what a model consists of, and what running it costs.
#include <fmt/core.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/progress.h"
#include "nibble/models/inspection.h"
#include "nibble/models/recipe_files.h"
#include "recipe.h"
#include "tensor_table.h"

namespace nibble::cli {
namespace {

constexpr const char kInspectNotes[] =
    "The module tree, each tensor's shape, format and size, and what one token of\n"
    "decode reads and computes. Reads headers only. Operations are those of the\n"
    "matrix products, 2 for a multiply-add. A tied head that is not packed is the\n"
    "embedding's tensor and is listed and counted once.";

struct InspectFlags {
  std::string model;
  std::string dtype = "bf16";
};

double file_bits_per_parameter(const Inspection& inspection) {
  return 8.0 * static_cast<double>(inspection.bytes) / static_cast<double>(inspection.parameters);
}

Json tensors_json(const Inspection& inspection) {
  Json tensors = Json::array();
  for (const StoredParameter& tensor : inspection.tensors) {
    Json entry = {{"name", tensor.name},          {"shape", tensor.shape},
                  {"format", tensor.format},      {"bits_per_weight", tensor.bits_per_weight()},
                  {"parameters", tensor.count()}, {"bytes", tensor.bytes}};
    if (tensor.group_size > 0) entry["group_size"] = tensor.group_size;
    tensors.push_back(std::move(entry));
  }
  return tensors;
}

/// What the checkpoint says of how it was quantized; null if it does not.
Json recipe_of(const Checkpoint& checkpoint) {
  const std::filesystem::path file = checkpoint.path() / kRecipeFile;
  return file_exists(file) ? read_json_file(file) : Json();
}

Json inspection_json(const InspectFlags& flags, const Checkpoint& checkpoint,
                     const Inspection& inspection) {
  const TokenCost& token = inspection.token;
  return {{"model", flags.model},
          {"architecture", checkpoint.spec().architecture},
          {"recipe", recipe_of(checkpoint)},
          {"layers", checkpoint.spec().n_layers},
          {"context", checkpoint.spec().context},
          {"vocab_size", checkpoint.spec().vocab},
          {"parameters", inspection.parameters},
          {"bytes", inspection.bytes},
          {"file_bits_per_parameter", file_bits_per_parameter(inspection)},
          {"bits_per_weight", token.bits_per_weight()},
          {"bytes_per_token", std::llround(token.bytes)},
          {"weights_per_token", std::llround(token.weights)},
          {"operations_per_token", std::llround(token.operations)},
          {"attention_operations_per_position", std::llround(token.attention_operations)},
          {"kv_bytes_per_position", token.kv_bytes_per_position},
          {"modules", module_tree(checkpoint)},
          {"tensors", tensors_json(inspection)},
          {"unused_tensors", inspection.unused}};
}

void print_totals(const InspectFlags& flags, const Inspection& inspection) {
  const TokenCost& token = inspection.token;
  fmt::print("in all        {} parameters, {}, {:.3f} bits a parameter\n", inspection.parameters,
             human_bytes(static_cast<double>(inspection.bytes)),
             file_bits_per_parameter(inspection));
  fmt::print(
      "a token       reads {} of weights ({:.3f} bits a weight, dense ones as {}), "
      "{} operations\n",
      human_bytes(token.bytes), token.bits_per_weight(), flags.dtype,
      human_count(token.operations));
  fmt::print("a position    {} of bf16 KV cache, {} operations a token\n",
             human_bytes(static_cast<double>(token.kv_bytes_per_position)),
             human_count(token.attention_operations));
  if (!inspection.unused.empty()) {
    fmt::print("not used      {} tensors: {}{}\n", inspection.unused.size(),
               inspection.unused.front(), inspection.unused.size() > 1 ? " ..." : "");
  }
}

void inspect_model(const InspectFlags& flags, const CommonFlags& common) {
  const Checkpoint checkpoint(locate_model(flags.model));
  const Inspection inspection = inspect(checkpoint, parse_dtype(flags.dtype));
  if (common.json) {
    print_json(inspection_json(flags, checkpoint, inspection));
    return;
  }
  fmt::print("{}\n\n", module_tree(checkpoint));
  fmt::print("{}\n", tensor_table(inspection.tensors).text());
  print_totals(flags, inspection);
  const std::string recipe = recipe_line(recipe_of(checkpoint));
  if (!recipe.empty()) fmt::print("quantized by  {}\n", recipe);
}

}  // namespace

void add_inspect(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("inspect", "Show a model's modules, sizes and costs");
  auto flags = std::make_shared<InspectFlags>();
  add_model_argument(command, flags->model);
  add_dtype_flag(command, flags->dtype,
                 "What weights that are not quantized are computed in, for what a token reads");
  add_common_flags(command, common);
  command.set_example("nibble inspect Llama-3.2-1B-w4", kInspectNotes);
  command.set_action([flags, &common] { inspect_model(*flags, common); });
}

}  // namespace nibble::cli
