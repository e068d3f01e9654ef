// nibble tokenize and nibble detokenize: text to token ids and back.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/log.h"
#include "nibble/models/checkpoint.h"

namespace nibble::cli {
namespace {

struct TokenizeFlags {
  std::string model;
  TextFlags text;
  bool no_special = false;
  bool no_parse_special = false;
};

void tokenize(const TokenizeFlags& flags, const CommonFlags& common) {
  const Tokenizer tokenizer = load_tokenizer(locate_model(flags.model));
  const std::vector<std::int32_t> ids = tokenizer.encode(
      flags.text.read(),
      {.add_special = !flags.no_special, .parse_special = !flags.no_parse_special});
  check_interrupt();  // a long text's ids are not printed after Ctrl-C
  if (common.json) {
    print_json({{"ids", ids}});
  } else {
    fmt::print("{}\n", fmt::join(ids, " "));
  }
}

struct DetokenizeFlags {
  std::string model;
  std::vector<std::int32_t> ids;
};

void detokenize(const DetokenizeFlags& flags, const CommonFlags& common) {
  const Tokenizer tokenizer = load_tokenizer(locate_model(flags.model));
  for (const std::int32_t id : flags.ids) {
    if (id >= tokenizer.vocab_size()) {
      warn("id {} is none of the tokenizer's {}: it gives nothing", id, tokenizer.vocab_size());
    }
  }
  const std::string text = tokenizer.decode(flags.ids);
  if (common.json) {
    print_json({{"text", text}});
  } else {
    fmt::print("{}\n", text);
  }
}

}  // namespace

void add_tokenize(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("tokenize", "Turn text into token ids");
  auto flags = std::make_shared<TokenizeFlags>();
  add_model_argument(command, flags->model);
  add_text_argument(command, flags->text, "TEXT", "The text");
  command.add_switch("--no-special", flags->no_special, "Add no BOS or EOS: the text itself only");
  command.add_switch("--no-parse-special", flags->no_parse_special,
                     "Read special tokens in the text as plain text");
  add_common_flags(command, common);
  command.set_example("nibble tokenize Llama-3.2-1B \"Hello world\"");
  command.set_action([flags, &common] { tokenize(*flags, common); });
}

void add_detokenize(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("detokenize", "Turn token ids into text");
  auto flags = std::make_shared<DetokenizeFlags>();
  add_model_argument(command, flags->model);
  command
      .add_parsed_list(
          "ID",
          [flags](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              const std::vector<std::int64_t> ids = parse_integers("ID", text, 0, INT32_MAX);
              flags->ids.insert(flags->ids.end(), ids.begin(), ids.end());
            }
          },
          "Token ids, with blanks or commas between them")
      .required();
  add_common_flags(command, common);
  command.set_example("nibble detokenize Llama-3.2-1B 9906 1917");
  command.set_action([flags, &common] { detokenize(*flags, common); });
}

}  // namespace nibble::cli
