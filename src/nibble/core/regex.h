// Regular expressions out of files: of tokenizers, and of what a quantized checkpoint names by
// pattern. They are written for Oniguruma (the `tokenizers` library's engine, Ruby syntax, Unicode
// classes) or Python; they are translated to PCRE2, compiled by its JIT and run with a limit on
// backtracking, as the pattern comes from a file.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

struct Span {
  std::size_t begin;
  std::size_t end;
};

class Regex {
 public:
  /// Throws Error, opening with `origin`, where the pattern is wrong or uses what is not supported.
  Regex(std::string_view pattern, const std::string& origin);

  /// The first match in `text` (valid UTF-8) that starts at `from` or later; look-behind sees the
  /// text before. Throws Error where the pattern needs too much backtracking.
  std::optional<Span> find(std::string_view text, std::size_t from) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace nibble
