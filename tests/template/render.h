// Templates rendered for tests.
#pragma once

#include <string>

#include "nibble/template/chat_template.h"
#include "nibble/template/values/json_value.h"

namespace nibble::testing {

/// The text, or "TypeError: message" of what is raised.
inline std::string render(const std::string& text, const jinja::Dict& variables = {}) {
  try {
    return ChatTemplate(text, "test").render(variables);
  } catch (const TemplateError& error) {
    return error.type() + ": " + error.message();
  }
}

}  // namespace nibble::testing
