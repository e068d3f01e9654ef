#include "nibble/tokenizer/steps/token_decoder.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "nibble/core/json.h"
#include "nibble/core/refuse.h"
#include "nibble/tokenizer/text/blank_mark.h"
#include "nibble/tokenizer/text/byte_level.h"

namespace nibble::tokenizers {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    text.replace(at, from.size(), to);
    at += to.size();
  }
}

void strip_both(std::string& text, std::string_view what, std::int64_t start, std::int64_t stop) {
  for (; start > 0 && text.starts_with(what); --start) text.erase(0, what.size());
  for (; stop > 0 && text.ends_with(what); --stop) text.resize(text.size() - what.size());
}

}  // namespace

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int byte = -1;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc() && end == token.data() + 5 ? byte : -1;
}

TokenDecoder::TokenDecoder(const nlohmann::json& json, const std::string& origin) {
  if (!json.is_null()) parse(json, origin);
}

void TokenDecoder::parse(const nlohmann::json& json, const std::string& origin) {
  const JsonObject object(json, origin);
  const std::string type = object.get_string("type");
  if (fused_ && type != "Strip" && type != "Fuse") {
    refuse("{}: decoder '{}' after Fuse is not supported", origin, type);
  }
  if (type == "Sequence") {
    const auto found = json.find("decoders");
    if (found == json.end() || !found->is_array())
      refuse("{}: decoders: expected an array", origin);
    for (const auto& step : *found) parse(step, origin);
  } else if (type == "ByteLevel") {
    steps_.push_back({Step::Kind::kByteLevel});
  } else if (type == "ByteFallback") {
    steps_.push_back({Step::Kind::kByteFallback});
  } else if (type == "Fuse") {
    fused_ = true;
  } else if (type == "Replace") {
    const std::string from = object.get_object("pattern").get_string("String");
    if (from.empty()) refuse("{}: decoder Replace: the pattern is empty", origin);
    steps_.push_back({Step::Kind::kReplace, from, object.get_string("content")});
  } else if (type == "Strip") {
    parse_strip(json, origin);
  } else if (type == "Metaspace") {
    const std::string blank = object.find_string("replacement").value_or(std::string(kBlankMark));
    const bool never = object.find_string("prepend_scheme").value_or("") == "never" ||
                       !object.get_bool("add_prefix_space", true);
    if (blank.empty()) refuse("{}: decoder Metaspace: the replacement is empty", origin);
    steps_.push_back({Step::Kind::kReplace, blank, " "});
    if (!never) start_.drop = blank;
  } else {
    refuse("{}: decoder '{}' is not supported", origin, type);
  }
}

void TokenDecoder::parse_strip(const nlohmann::json& json, const std::string& origin) {
  const JsonObject object(json, origin);
  const std::string content = object.get_string("content");
  const std::int64_t start = object.get_int("start", 0, 1'000'000, 0);
  const std::int64_t stop = object.get_int("stop", 0, 1'000'000, 0);
  if (content.empty()) refuse("{}: decoder Strip: the content is empty", origin);
  if (!fused_) {
    steps_.push_back({Step::Kind::kStrip, content, "", start, stop});
  } else if (stop > 0 || start_.times > 0) {
    refuse("{}: decoder Strip at the end of the whole text is not supported", origin);
  } else {
    start_.strip = content;
    start_.times = start;
  }
}

std::string TokenDecoder::decode_token(std::string token) const {
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::kByteLevel:
        // A token that is not written in the alphabet stands for itself.
        if (auto bytes = from_byte_alphabet(token)) token = std::move(*bytes);
        break;
      case Step::Kind::kByteFallback:
        if (const int byte = byte_of_token(token); byte >= 0) {
          return std::string(1, static_cast<char>(byte));
        }
        break;
      case Step::Kind::kReplace:
        replace_all(token, step.from, step.to);
        break;
      case Step::Kind::kStrip:
        strip_both(token, step.from, step.start, step.stop);
        break;
    }
  }
  return token;
}

void TokenDecoder::add(std::int32_t id, std::string_view token) {
  bytes_.add(id, decode_token(std::string(token)));
}

}  // namespace nibble::tokenizers
