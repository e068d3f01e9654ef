// What `nibble quantize` calibrates on.
#include <memory>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/runtime/chat_format.h"
#include "quantize_method.h"

namespace nibble::cli {
namespace {

/// Writes conversations by the model's chat template, which is read when the first one comes.
RenderMessages by_template(const std::filesystem::path& model) {
  return [model, format = std::shared_ptr<const ChatFormat>()](const jinja::Value& messages,
                                                               const std::string& origin) mutable {
    if (!format) format = std::make_shared<const ChatFormat>(ChatFormat::load(model));
    ChatInput input;
    input.messages = messages;
    input.origin = origin;
    return format->render(input);
  };
}

/// The same, if there is a template: the text that Nibble comes with serves models without one.
RenderMessages by_template_if_any(const std::filesystem::path& model) {
  try {
    ChatFormat::load(model);
    return by_template(model);
  } catch (const Error& error) {
    verbose("{}; conversations are calibrated on as plain text", error.what());
    return {};
  }
}

}  // namespace

std::vector<std::vector<std::int32_t>> make_calibration(const MethodFlags& flags,
                                                        const CommonFlags& common,
                                                        const Checkpoint& checkpoint) {
  CalibrationOptions options = flags.calibration;
  for (const std::string& text : flags.texts) options.texts.push_back(parse_calibration_text(text));
  options.seed = common.seed;
  options.render = by_template(checkpoint.path());
  if (options.texts.empty()) {
    options.texts = own_calibration_texts();
    options.render = by_template_if_any(checkpoint.path());
  }
  return calibration_blocks(checkpoint.load_tokenizer(), options);
}

}  // namespace nibble::cli
