// nibble logits: the logits of every position, for comparing with other engines.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/error.h"
#include "nibble/formats/npy.h"

namespace nibble::cli {
namespace {

// Positions whose logits exist at a time.
constexpr std::int64_t kPositionsPerLot = 128;

struct LogitsFlags {
  std::string model;
  std::vector<std::int32_t> tokens;
  std::string prompt;
  std::string output;
  ComputeFlags compute;
};

void logits(const LogitsFlags& flags, const CommonFlags& common) {
  ThreadPool pool(common.threads);
  Model model(locate_model(flags.model), pool, flags.compute.options());
  const std::vector<std::int32_t> tokens =
      flags.tokens.empty() ? model.checkpoint().load_tokenizer().encode(flags.prompt)
                           : flags.tokens;
  if (tokens.empty()) fail("the prompt has no tokens, so there are no logits");
  const auto count = static_cast<std::int64_t>(tokens.size());
  const std::int64_t vocab = model.spec().vocab;
  KvCache cache = model.make_cache(flags.compute.context);
  std::vector<float> hidden(static_cast<std::size_t>(count * model.spec().hidden));
  model.forward(tokens, cache, hidden.data());

  NpyWriter writer(flags.output, count, vocab);
  std::vector<float> rows;
  for (std::int64_t first = 0; first < count; first += kPositionsPerLot) {
    const std::int64_t lot = std::min(kPositionsPerLot, count - first);
    rows.resize(static_cast<std::size_t>(lot * vocab));
    model.logits(hidden.data() + first * model.spec().hidden, lot, rows.data());
    writer.write(rows);
  }
  writer.commit();
  if (common.json) {
    print_json({{"output", flags.output},
                {"shape", {count, vocab}},
                {"activations", activation_type_name(model.activations())}});
  } else {
    fmt::print("{}: {} x {} float32; {} activations\n", flags.output, count, vocab,
               activation_type_name(model.activations()));
  }
}

}  // namespace

void add_logits(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("logits", "Write the logits of every position as .npy");
  auto flags = std::make_shared<LogitsFlags>();
  add_model_argument(command, flags->model);
  const Flag tokens = command.add_parsed(
      "--tokens",
      [flags](const std::string& text) {
        const std::vector<std::int64_t> ids = parse_integers("--tokens", text, 0, INT32_MAX);
        flags->tokens.assign(ids.begin(), ids.end());
      },
      "Token ids, with commas; no BOS is added");
  const Flag prompt = command.add("--prompt", flags->prompt, "A text, encoded as by run");
  prompt.excludes(tokens);
  command.add("-o,--output", flags->output, "The file to write, float32 (tokens, vocabulary)")
      .required();
  command.check([tokens, prompt] {
    if (!tokens.given() && !prompt.given()) throw UsageError("--tokens or --prompt is required");
  });
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example("nibble logits Llama-3.2-1B --prompt \"Hello\" -o logits.npy");
  command.set_action([flags, &common] { logits(*flags, common); });
}

}  // namespace nibble::cli
