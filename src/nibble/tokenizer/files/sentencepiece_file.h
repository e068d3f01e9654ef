// tokenizer.model of SentencePiece: a protobuf message, read and written without the library, which
// was not made for hostile files. Field numbers are those of sentencepiece_model.proto.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/tokenizer/bpe/word_model.h"

namespace nibble::tokenizers {

struct SentencePieceFile {
  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<PieceType> types;

  // trainer_spec
  std::int64_t model_type = 1;  // 1 unigram, 2 BPE, 3 word, 4 char
  bool treat_whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::int64_t unk_id = 0;
  std::int64_t bos_id = 1;
  std::int64_t eos_id = 2;
  std::int64_t pad_id = -1;

  // normalizer_spec
  std::string normalizer_name = "identity";
  std::string precompiled_charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Throws Error, opening with `origin`, if `bytes` are no such message.
SentencePieceFile read_sentencepiece(std::string_view bytes, const std::string& origin);

std::string write_sentencepiece(const SentencePieceFile& file);

}  // namespace nibble::tokenizers
