#include "nibble/tokenizer/steps/normalizer.h"

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/steps/pattern.h"
#include "nibble/tokenizer/text/byte_level.h"
#include "nibble/tokenizer/text/unicode.h"

namespace nibble::tokenizers {
namespace {

class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(NormalForm form) : form_(form) {}
  std::string normalize(std::string_view text, bool) const override {
    return normalize_unicode(text, form_);
  }
  bool leaves(std::string_view text) const override {
    const unsigned char bound = form_ == NormalForm::kNfc ? 0xCC : 0x80;  // see unicode.cpp
    for (const char byte : text) {
      if (static_cast<unsigned char>(byte) >= bound) return false;
    }
    return true;
  }

 private:
  NormalForm form_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string normalize(std::string_view text, bool) const override {
    return text.empty() ? std::string() : prefix_ + std::string(text);
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string normalize(std::string_view text, bool) const override {
    std::string out;
    out.reserve(text.size() + text.size() / 2);
    std::size_t done = 0;
    Matches matches(pattern_, text);
    while (const auto match = matches.next()) {
      out.append(text, done, match->begin - done);
      out += content_;
      done = match->end;
    }
    return out.append(text, done);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

/// Takes blanks away at the ends.
class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  std::string normalize(std::string_view text, bool) const override {
    while (left_ && !text.empty() && is_whitespace(front_code_point(text))) {
      text.remove_prefix(utf8_length(text[0]));
    }
    while (right_ && !text.empty()) {
      const std::size_t last = last_utf8_length(text);
      if (!is_whitespace(front_code_point(text.substr(text.size() - last)))) break;
      text.remove_suffix(last);
    }
    return std::string(text);
  }

 private:
  bool left_;
  bool right_;
};

/// Changes every character on its own.
class PerCharacter : public Normalizer {
 public:
  using Change = void (*)(std::string& out, char32_t c);
  explicit PerCharacter(Change change) : change_(change) {}
  std::string normalize(std::string_view text, bool) const override {
    std::string out;
    out.reserve(text.size());
    for (; !text.empty(); text.remove_prefix(utf8_length(text[0]))) {
      change_(out, front_code_point(text));
    }
    return out;
  }

 private:
  Change change_;
};

void drop_mark(std::string& out, char32_t c) {
  if (!is_mark(c)) append_utf8(out, c);
}

class ByteAlphabet : public Normalizer {
 public:
  std::string normalize(std::string_view text, bool) const override {
    return to_byte_alphabet(text);
  }
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  std::string normalize(std::string_view text, bool at_start) const override {
    std::string out(text);
    for (const auto& step : steps_) out = step->normalize(out, at_start);
    return out;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

std::unique_ptr<Normalizer> make_sequence(const JsonObject& object) {
  std::vector<std::unique_ptr<Normalizer>> steps;
  const auto found = object.json().find("normalizers");
  if (found == object.json().end() || !found->is_array()) {
    refuse("{}: normalizers: expected an array", object.origin());
  }
  for (const auto& step : *found) steps.push_back(make_normalizer(step, object.origin()));
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<Normalizer> make_replace(const JsonObject& object) {
  return std::make_unique<Replace>(Pattern(object.get_object("pattern").json(), object.origin()),
                                   object.get_string("content"));
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& json, const std::string& origin) {
  using Make = std::unique_ptr<Normalizer> (*)(const JsonObject&);
  static const std::map<std::string, Make, std::less<>> kinds{
      {"Sequence", make_sequence},
      {"Replace", make_replace},
      {"NFC",
       [](auto&) -> std::unique_ptr<Normalizer> {
         return std::make_unique<UnicodeForm>(NormalForm::kNfc);
       }},
      {"NFD",
       [](auto&) -> std::unique_ptr<Normalizer> {
         return std::make_unique<UnicodeForm>(NormalForm::kNfd);
       }},
      {"NFKC",
       [](auto&) -> std::unique_ptr<Normalizer> {
         return std::make_unique<UnicodeForm>(NormalForm::kNfkc);
       }},
      {"NFKD",
       [](auto&) -> std::unique_ptr<Normalizer> {
         return std::make_unique<UnicodeForm>(NormalForm::kNfkd);
       }},
      {"Prepend",
       [](auto& object) -> std::unique_ptr<Normalizer> {
         return std::make_unique<Prepend>(object.get_string("prepend"));
       }},
      {"Strip",
       [](auto& object) -> std::unique_ptr<Normalizer> {
         return std::make_unique<Strip>(object.get_bool("strip_left", true),
                                        object.get_bool("strip_right", true));
       }},
      {"Lowercase",
       [](auto&) -> std::unique_ptr<Normalizer> {
         return std::make_unique<PerCharacter>(append_lowercase);
       }},
      {"StripAccents",
       [](auto&) -> std::unique_ptr<Normalizer> {
         return std::make_unique<PerCharacter>(drop_mark);
       }},
      {"ByteLevel",
       [](auto&) -> std::unique_ptr<Normalizer> { return std::make_unique<ByteAlphabet>(); }},
  };
  const JsonObject object(json, origin);
  const std::string type = object.get_string("type");
  const auto kind = kinds.find(type);
  if (kind == kinds.end()) refuse("{}: normalizer '{}' is not supported", origin, type);
  return kind->second(object);
}

}  // namespace nibble::tokenizers
