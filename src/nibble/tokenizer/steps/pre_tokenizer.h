// Cuts text into words: the "pre_tokenizer" of tokenizer.json. Steps run one inside the other:
// every piece that one step finds goes through the rest before the next piece is looked for, so
// that no list of pieces is ever made.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/function_ref.h"

namespace nibble::tokenizers {

struct Piece {
  std::string_view text;  // not empty; valid UTF-8
  bool at_start;          // begins where the input does
};
using PieceSink = FunctionRef<void(Piece)>;

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  /// Gives the parts of `piece` to `sink` from left to right; empty ones are left out by the
  /// caller.
  virtual void split(Piece piece, PieceSink sink) const = 0;
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  /// From the value of "pre_tokenizer" (an object). Throws Error, opening with `origin`, for a type
  /// or a setting that is not supported. `model_reads_bytes`: a final ByteLevel leaves the bytes as
  /// they are, instead of writing them in its alphabet.
  PreTokenizer(const nlohmann::json& json, bool model_reads_bytes, const std::string& origin);

  /// Adds a last step: cuts before every "▁" that follows another character.
  void add_boundary_cuts();
  void split(std::string_view text, bool at_start, PieceSink sink) const;

 private:
  void run(std::size_t step, Piece piece, PieceSink sink) const;
  std::vector<std::unique_ptr<PreTokenizerStep>> steps_;
};

/// Whether the last step of "pre_tokenizer" is ByteLevel.
bool ends_in_byte_level(const nlohmann::json& json);

}  // namespace nibble::tokenizers
