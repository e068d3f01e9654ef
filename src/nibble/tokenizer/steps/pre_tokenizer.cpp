#include "nibble/tokenizer/steps/pre_tokenizer.h"

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "nibble/core/json.h"
#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/steps/pattern.h"
#include "nibble/tokenizer/steps/word_patterns.h"
#include "nibble/tokenizer/text/blank_mark.h"
#include "nibble/tokenizer/text/byte_level.h"
#include "nibble/tokenizer/text/unicode.h"

namespace nibble::tokenizers {
namespace {

/// What becomes of the matches, the delimiters.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior parse_behavior(const std::string& name, const std::string& origin) {
  static const std::map<std::string, Behavior, std::less<>> names{
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  const auto found = names.find(name);
  if (found == names.end()) refuse("{}: behavior '{}' is not supported", origin, name);
  return found->second;
}

/// Puts matches and the stretches between them together as a Behavior says, and hands them on.
class Joiner {
 public:
  Joiner(Piece piece, Behavior behavior, PieceSink sink)
      : piece_(piece), behavior_(behavior), sink_(sink) {}

  void part(std::size_t begin, std::size_t end, bool is_match) {
    if (!joins(is_match)) {
      flush();
      begin_ = begin;
    }
    end_ = end;
    pending_ = true;
    was_match_ = is_match;
  }

  void flush() {
    if (pending_ && !(behavior_ == Behavior::kRemoved && was_match_)) {
      sink_({piece_.text.substr(begin_, end_ - begin_), piece_.at_start && begin_ == 0});
    }
    pending_ = false;
  }

 private:
  /// Whether the next part belongs to the pending one.
  bool joins(bool is_match) const {
    if (!pending_) return false;
    switch (behavior_) {
      case Behavior::kMergedWithPrevious:
        return is_match && !was_match_;
      case Behavior::kMergedWithNext:
        return was_match_ && !is_match;
      case Behavior::kContiguous:
        return is_match == was_match_;
      default:
        return false;
    }
  }

  Piece piece_;
  Behavior behavior_;
  PieceSink sink_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool pending_ = false;
  bool was_match_ = false;
};

void split_by_pattern(Piece piece, const Pattern& pattern, Behavior behavior, bool invert,
                      PieceSink sink) {
  Joiner joiner(piece, behavior, sink);
  std::size_t done = 0;
  Matches matches(pattern, piece.text);
  while (const auto match = matches.next()) {
    if (match->begin > done) joiner.part(done, match->begin, invert);
    joiner.part(match->begin, match->end, !invert);
    done = match->end;
  }
  if (done < piece.text.size()) joiner.part(done, piece.text.size(), invert);
  joiner.flush();
}

class Split : public PreTokenizerStep {
 public:
  Split(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(Piece piece, PieceSink sink) const override {
    split_by_pattern(piece, pattern_, behavior_, invert_, sink);
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Delimiters are single characters of a class.
class SplitByClass : public PreTokenizerStep {
 public:
  using Class = bool (*)(char32_t);
  SplitByClass(Class is_delimiter, Behavior behavior)
      : is_delimiter_(is_delimiter), behavior_(behavior) {}
  void split(Piece piece, PieceSink sink) const override {
    Joiner joiner(piece, behavior_, sink);
    std::size_t done = 0;
    for (std::size_t i = 0; i < piece.text.size();) {
      const std::size_t length = utf8_length(piece.text[i]);
      if (is_delimiter_(front_code_point(piece.text.substr(i)))) {
        if (i > done) joiner.part(done, i, false);
        joiner.part(i, i + length, true);
        done = i + length;
      }
      i += length;
    }
    if (done < piece.text.size()) joiner.part(done, piece.text.size(), false);
    joiner.flush();
  }

 private:
  Class is_delimiter_;
  Behavior behavior_;
};

class ByteLevel : public PreTokenizerStep {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, bool keep_bytes, const std::string& origin)
      : add_prefix_space_(add_prefix_space), keep_bytes_(keep_bytes) {
    if (use_regex) words_.emplace(Regex(kGpt2Pattern, origin));
  }
  void split(Piece piece, PieceSink sink) const override {
    std::string prefixed;
    if (add_prefix_space_ && piece.text[0] != ' ') {
      prefixed.append(" ").append(piece.text);
      piece.text = prefixed;
    }
    const auto hand_on = [&](Piece part) {
      if (keep_bytes_) return sink(part);
      const std::string written = to_byte_alphabet(part.text);
      sink({written, part.at_start});
    };
    if (!words_) return hand_on(piece);
    split_by_pattern(piece, *words_, Behavior::kIsolated, false, hand_on);
  }

 private:
  bool add_prefix_space_;
  bool keep_bytes_;
  std::optional<Pattern> words_;
};

enum class PrependScheme { kAlways, kFirst, kNever };

class Metaspace : public PreTokenizerStep {
 public:
  Metaspace(std::string replacement, PrependScheme scheme, bool cut)
      : replacement_(std::move(replacement)), cuts_(replacement_), scheme_(scheme), cut_(cut) {}
  void split(Piece piece, PieceSink sink) const override {
    std::string text;
    text.reserve(piece.text.size() * 2);
    for (const char byte : piece.text) {
      byte == ' ' ? text += replacement_ : text += byte;
    }
    const bool prepend =
        scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && piece.at_start);
    if (prepend && !text.starts_with(replacement_)) text.insert(0, replacement_);
    if (!cut_) return sink({text, piece.at_start});
    split_by_pattern({text, piece.at_start}, cuts_, Behavior::kMergedWithNext, false, sink);
  }

 private:
  std::string replacement_;
  Pattern cuts_;
  PrependScheme scheme_;
  bool cut_;
};

/// Cuts where no token can cross; changes nothing in the result, but makes words to remember.
class BoundaryCuts : public PreTokenizerStep {
 public:
  void split(Piece piece, PieceSink sink) const override {
    std::string_view text = piece.text;
    std::size_t begin = 0;
    std::size_t end = 0;
    while (begin < text.size()) {
      while (text.substr(end, kBlankMark.size()) == kBlankMark) end += kBlankMark.size();
      end = std::min(text.find(kBlankMark, end), text.size());
      sink({text.substr(begin, end - begin), piece.at_start && begin == 0});
      begin = end;
    }
  }
};

using Step = std::unique_ptr<PreTokenizerStep>;

Step make_split(const JsonObject& object) {
  return std::make_unique<Split>(Pattern(object.get_object("pattern").json(), object.origin()),
                                 parse_behavior(object.get_string("behavior"), object.origin()),
                                 object.get_bool("invert", false));
}

Step make_digits(const JsonObject& object) {
  const bool individual = object.get_bool("individual_digits", false);
  return std::make_unique<SplitByClass>(is_numeric,
                                        individual ? Behavior::kIsolated : Behavior::kContiguous);
}

Step make_punctuation(const JsonObject& object) {
  const std::string behavior = object.find_string("behavior").value_or("Isolated");
  return std::make_unique<SplitByClass>(is_punctuation, parse_behavior(behavior, object.origin()));
}

Step make_whitespace(const JsonObject& object) {
  return std::make_unique<Split>(Pattern(Regex(R"(\w+|[^\w\s]+)", object.origin())),
                                 Behavior::kRemoved, true);
}

Step make_whitespace_split(const JsonObject&) {
  return std::make_unique<SplitByClass>(is_whitespace, Behavior::kRemoved);
}

Step make_metaspace(const JsonObject& object) {
  static const std::map<std::string, PrependScheme, std::less<>> schemes{
      {"always", PrependScheme::kAlways},
      {"first", PrependScheme::kFirst},
      {"never", PrependScheme::kNever}};
  const std::string old = object.get_bool("add_prefix_space", true) ? "always" : "never";
  const std::string name = object.find_string("prepend_scheme").value_or(old);
  const auto scheme = schemes.find(name);
  if (scheme == schemes.end()) refuse("{}: prepend_scheme '{}' is unknown", object.origin(), name);
  const std::string replacement =
      object.find_string("replacement").value_or(std::string(kBlankMark));
  if (replacement.empty()) refuse("{}: Metaspace: the replacement is empty", object.origin());
  return std::make_unique<Metaspace>(replacement, scheme->second, object.get_bool("split", true));
}

const std::map<std::string, std::function<Step(const JsonObject&)>, std::less<>>& step_kinds() {
  static const std::map<std::string, std::function<Step(const JsonObject&)>, std::less<>> kinds{
      {"Split", make_split},
      {"Digits", make_digits},
      {"Punctuation", make_punctuation},
      {"Whitespace", make_whitespace},
      {"WhitespaceSplit", make_whitespace_split},
      {"Metaspace", make_metaspace},
  };
  return kinds;
}

/// The objects of single steps, those inside Sequences in order.
void collect_steps(const nlohmann::json& json, const std::string& origin,
                   std::vector<JsonObject>& steps) {
  const JsonObject object(json, origin);
  if (object.get_string("type") != "Sequence") return steps.push_back(object);
  const auto found = json.find("pretokenizers");
  if (found == json.end() || !found->is_array()) {
    refuse("{}: pretokenizers: expected an array", origin);
  }
  for (const auto& step : *found) collect_steps(step, origin, steps);
}

}  // namespace

bool ends_in_byte_level(const nlohmann::json& json) {
  if (!json.is_object()) return false;
  std::vector<JsonObject> steps;
  collect_steps(json, "pre_tokenizer", steps);
  return !steps.empty() && steps.back().get_string("type") == "ByteLevel";
}

PreTokenizer::PreTokenizer(const nlohmann::json& json, bool model_reads_bytes,
                           const std::string& origin) {
  std::vector<JsonObject> steps;
  collect_steps(json, origin, steps);
  for (const JsonObject& step : steps) {
    const std::string type = step.get_string("type");
    if (type == "ByteLevel") {
      const bool keep_bytes = model_reads_bytes && &step == &steps.back();
      steps_.push_back(std::make_unique<ByteLevel>(step.get_bool("add_prefix_space", true),
                                                   step.get_bool("use_regex", true), keep_bytes,
                                                   origin));
      continue;
    }
    const auto kind = step_kinds().find(type);
    if (kind == step_kinds().end()) refuse("{}: pre_tokenizer '{}' is not supported", origin, type);
    steps_.push_back(kind->second(step));
  }
}

void PreTokenizer::add_boundary_cuts() {
  steps_.push_back(std::make_unique<BoundaryCuts>());
}

void PreTokenizer::split(std::string_view text, bool at_start, PieceSink sink) const {
  run(0, {text, at_start}, sink);
}

void PreTokenizer::run(std::size_t step, Piece piece, PieceSink sink) const {
  if (piece.text.empty()) return;
  if (step == steps_.size()) return sink(piece);
  steps_[step]->split(piece, [&](Piece part) { run(step + 1, part, sink); });
}

}  // namespace nibble::tokenizers
