#include "nibble/core/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>

#include "nibble/core/refuse.h"

namespace nibble {
namespace {

constexpr std::size_t kMaxPattern = 100'000;
// A run of blanks or digits of a few MB is walked back in one match; nothing sane needs more.
constexpr std::uint32_t kMatchLimit = 10'000'000;
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;
constexpr std::size_t kJitStackStart = 64 * 1024;
constexpr std::size_t kJitStackLimit = 32 * 1024 * 1024;

/// What a thread needs to match; PCRE2 forbids sharing it.
struct MatchState {
  MatchState()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr)) {
    if (!data || !context || !stack) throw std::bad_alloc();
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKiB);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchState() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  MatchState(const MatchState&) = delete;
  MatchState& operator=(const MatchState&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

/// Classes that mean something else to PCRE2: its \s takes U+180E too, its \w leaves out marks.
std::string translate_escape(char escaped, bool in_class, const std::string& origin) {
  constexpr std::string_view kWord = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}";
  switch (escaped) {
    case 's':
      return "\\p{White_Space}";
    case 'S':
      return "\\P{White_Space}";
    case 'w':
      return in_class ? std::string(kWord) : fmt::format("[{}]", kWord);
    case 'W':
      if (in_class) break;
      return fmt::format("[^{}]", kWord);
    case 'h':
    case 'H':
    case 'Q':
    case 'E':
    case 'C':
    case 'K':
      break;
    default:
      return {'\\', escaped};
  }
  refuse("{}: \\{} is not supported in a pattern{}", origin, escaped, in_class ? " class" : "");
}

std::string translate_pattern(std::string_view pattern, const std::string& origin) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      if (++i == pattern.size()) refuse("{}: the pattern ends with a backslash", origin);
      out += translate_escape(pattern[i], in_class, origin);
      continue;
    }
    const bool posix = in_class && c == '[' && pattern.substr(i + 1, 1) == ":";
    if (in_class && !posix && (c == '[' || pattern.substr(i, 2) == "&&")) {
      refuse("{}: nested classes are not supported in a pattern", origin);
    }
    if (posix) {
      const std::size_t end = std::min(pattern.find(":]", i), pattern.size() - 2);
      out += pattern.substr(i, end + 2 - i);
      i = end + 1;
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

}  // namespace

struct Regex::Code {
  ~Code() { pcre2_code_free(code); }
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string origin;
};

Regex::Regex(std::string_view pattern, const std::string& origin) {
  if (pattern.size() > kMaxPattern) {
    refuse("{}: pattern of {} bytes, at most {} allowed", origin, pattern.size(), kMaxPattern);
  }
  const std::string translated = translate_pattern(pattern, origin);
  auto code = std::make_shared<Code>();
  int error = 0;
  std::size_t offset = 0;
  // Ruby's ^ and $ match at every line.
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                             &error, &offset, nullptr);
  if (!code->code) refuse("{}: wrong pattern '{}': {}", origin, pattern, pcre2_message(error));
  code->jit = pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE) == 0;
  code->origin = origin;
  code_ = std::move(code);
}

std::optional<Span> Regex::find(std::string_view text, std::size_t from) const {
  thread_local MatchState state;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int found = code_->jit ? pcre2_jit_match(code_->code, subject, text.size(), from,
                                                 PCRE2_NO_UTF_CHECK, state.data, state.context)
                               : pcre2_match(code_->code, subject, text.size(), from,
                                             PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0)
    refuse("{}: the pattern cannot be matched: {}", code_->origin, pcre2_message(found));
  const std::size_t* ends = pcre2_get_ovector_pointer(state.data);
  return Span{ends[0], ends[1]};
}

}  // namespace nibble
