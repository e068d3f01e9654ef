// JSON lines as documents to calibrate on: texts, and conversations written as the model wants
// them.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "nibble/core/function_ref.h"
#include "nibble/template/values/value.h"

namespace nibble {

/// Makes the text of a conversation, a list of messages, special tokens in it. `origin` opens
/// errors.
using RenderMessages =
    std::function<std::string(const jinja::Value& messages, const std::string& origin)>;

struct Document {
  std::string text;
  bool is_rendered = false;  // by a chat template, which writes the special tokens itself
};

/// Calls `use` with the document of each line, {"text": TEXT} or {"messages": [...]}, until it
/// returns false; other keys and blank lines mean nothing. Without `render` a conversation is the
/// contents of its messages, paragraph by paragraph. Throws Error naming `origin` and the line.
void read_documents(std::string_view lines, const std::string& origin, const RenderMessages& render,
                    FunctionRef<bool(const Document&)> use);

}  // namespace nibble
