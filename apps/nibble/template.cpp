// nibble template: the prompt that a chat template makes of a conversation.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/error.h"
#include "nibble/models/checkpoint.h"
#include "nibble/runtime/chat_format.h"
#include "nibble/template/values/json_value.h"

namespace nibble::cli {
namespace {

struct TemplateFlags {
  std::string model;
  std::string file;
  std::string messages;
};

bool read_flag(const jinja::Value& value, const std::string& origin) {
  if (!value.is_bool()) fail("{}: \"add_generation_prompt\" must be true or false", origin);
  return value.as_bool();
}

/// A list of messages, or an object that holds them among other variables.
ChatInput parse_input(const std::string& text, const std::string& origin) {
  const jinja::Value json = jinja::parse_json(text, origin);
  ChatInput input;
  input.messages = json;
  input.origin = fmt::format("{}: messages", origin);
  if (json.is_list()) return input;
  if (!json.is_dict() || json.as_dict().find("messages") == nullptr) {
    fail("{}: expected a list of messages, or an object with \"messages\"", origin);
  }
  for (const auto& [name, value] : json.as_dict().entries()) {
    if (name.as_text() == "messages") {
      input.messages = value;
    } else if (name.as_text() == "tools") {
      input.tools = value;
    } else if (name.as_text() == "add_generation_prompt") {
      input.add_generation_prompt = read_flag(value, origin);
    } else {
      input.more.set(name, value);
    }
  }
  return input;
}

void render(const TemplateFlags& flags, const CommonFlags& common) {
  const ChatFormat format = flags.file.empty() ? ChatFormat::load(locate_model(flags.model))
                                               : ChatFormat::from_file(flags.file);
  const TextFlags file{.text = "", .file = flags.messages};
  const std::string origin = flags.messages == "-" ? "standard input" : flags.messages;
  const std::string text = format.render(parse_input(file.read(), origin));
  if (common.json) {
    print_json({{"text", text}});
  } else {
    fmt::print("{}", text);
  }
}

}  // namespace

void add_template(CommandLine& line, CommonFlags& common) {
  const Command command =
      line.add_command("template", "Write a conversation as the model's prompt");
  auto flags = std::make_shared<TemplateFlags>();
  const Flag model = command.add(
      "MODEL", flags->model,
      "A model folder, a .gguf file, or a name under $NIBBLE_MODELS or in the Hugging Face cache");
  const Flag file =
      command.add("--template", flags->file, "A Jinja file, in place of MODEL's template");
  model.excludes(file);
  command
      .add("--messages", flags->messages,
           "A JSON file (- reads standard input): a list of messages, or an object with "
           "\"messages\", and if need be \"tools\", \"add_generation_prompt\" (false if "
           "left out), special tokens and other variables")
      .required();
  add_common_flags(command, common);
  command.set_example("nibble template Llama-3.2-1B-Instruct --messages conversation.json",
                      "The prompt is printed as it is, with no newline behind it.");
  command.check([model, file] {
    if (!model.given() && !file.given()) throw UsageError("MODEL or --template is required");
  });
  command.set_action([flags, &common] { render(*flags, common); });
}

}  // namespace nibble::cli
