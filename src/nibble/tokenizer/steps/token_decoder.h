// Ids back to text: the "decoder" of tokenizer.json. Whatever its steps, they come down to a string
// of bytes for each token, and a rule for the start of a text.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/tokenizer/text/string_table.h"

namespace nibble::tokenizers {

/// What is special about the first token of a text.
struct StartRule {
  std::string strip;       // taken away at the start of the text,
  std::int64_t times = 0;  // this many times at most
  bool per_token = false;  // as often again for every token until the text has begun
  std::string drop;        // taken out of the first token wherever it stands (Metaspace)
};

class TokenDecoder {
 public:
  /// From the value of "decoder" (an object, or null: tokens are put one behind the other). Throws
  /// Error, opening with `origin`, for what is not supported.
  TokenDecoder(const nlohmann::json& json, const std::string& origin);

  /// Sets what `id` stands for, from its text in the vocabulary.
  void add(std::int32_t id, std::string_view token);
  /// Sets what `id` stands for as it is.
  void add_raw(std::int32_t id, std::string_view bytes) { bytes_.add(id, bytes); }

  void strip_per_token() { start_.per_token = true; }

  std::string_view bytes(std::int32_t id) const { return bytes_.text(id); }
  const StartRule& start_rule() const { return start_; }

 private:
  void parse(const nlohmann::json& json, const std::string& origin);
  void parse_strip(const nlohmann::json& json, const std::string& origin);
  std::string decode_token(std::string token) const;

  struct Step {
    enum class Kind { kByteLevel, kByteFallback, kReplace, kStrip } kind;
    std::string from = {};
    std::string to = {};
    std::int64_t start = 0;
    std::int64_t stop = 0;
  };

  std::vector<Step> steps_;
  bool fused_ = false;  // past "Fuse": further steps are about the whole text
  StartRule start_;
  StringTable bytes_;
};

/// The byte that a token such as "<0x0A>" stands for, or -1.
int byte_of_token(std::string_view token);

}  // namespace nibble::tokenizers
