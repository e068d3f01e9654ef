#include "nibble/quant/calibration/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "nibble/core/error.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/json_value.h"

namespace nibble {
namespace {

using jinja::Value;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

const std::string& text_of(const Value& object, const char* key, const std::string& origin) {
  const Value* value = object.is_dict() ? object.as_dict().find(key) : nullptr;
  if (value == nullptr) {
    fail("{}: expected an object with \"{}\", found {}", origin, key, jinja::type_name(object));
  }
  if (!value->is_text()) {
    fail("{}: \"{}\": expected a string, found {}", origin, key, jinja::type_name(*value));
  }
  return value->as_text();
}

std::string paragraphs(const Value& messages, const std::string& origin) {
  std::string text;
  for (const Value& message : messages.items()) {
    text += text_of(message, "content", origin);
    text += "\n\n";
  }
  return text;
}

Document read_document(const Value& line, const std::string& origin, const RenderMessages& render) {
  if (!line.is_dict()) {
    fail("{}: expected an object with \"text\" or \"messages\", found {}", origin,
         jinja::type_name(line));
  }
  const Value* messages = line.as_dict().find("messages");
  if (messages == nullptr) {
    if (line.as_dict().find("text") == nullptr) {
      fail("{}: expected \"text\" or \"messages\", found neither", origin);
    }
    return {text_of(line, "text", origin)};
  }
  if (!messages->is_list() || messages->items().empty()) {
    fail("{}: \"messages\": expected a list of messages, found {}", origin,
         messages->is_list() ? "an empty one" : jinja::type_name(*messages));
  }
  if (!render) return {paragraphs(*messages, origin)};
  return {render(*messages, origin), true};
}

}  // namespace

void read_documents(std::string_view lines, const std::string& origin, const RenderMessages& render,
                    FunctionRef<bool(const Document&)> use) {
  for (std::int64_t number = 1; !lines.empty(); ++number) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    if (is_blank(line)) continue;
    const std::string place = fmt::format("{}: line {}", origin, number);
    if (!use(read_document(jinja::parse_json(line, place), place, render))) return;
  }
}

}  // namespace nibble
