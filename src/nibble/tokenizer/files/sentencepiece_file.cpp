#include "nibble/tokenizer/files/sentencepiece_file.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"

namespace nibble::tokenizers {
namespace {

enum WireType : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// One field of a message: a number, or bytes.
struct Field {
  std::uint64_t number = 0;
  std::uint64_t wire = kVarint;
  std::uint64_t value = 0;
  std::string_view bytes;
};

/// Reads a message field by field and never past its end.
class MessageReader {
 public:
  MessageReader(std::string_view bytes, const std::string& origin)
      : rest_(bytes), origin_(origin) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t key = varint();
    field = {key >> 3, key & 7};
    switch (field.wire) {
      case kVarint:
        field.value = varint();
        break;
      case kFixed64:
        take(8);
        break;
      case kFixed32: {
        std::uint32_t bits;
        std::memcpy(&bits, take(4).data(), 4);
        field.value = bits;
        break;
      }
      case kBytes:
        field.bytes = take(varint());
        break;
      default:
        refuse("{}: not a SentencePiece model (wire type {} in its protobuf)", origin_, field.wire);
    }
    return true;
  }

  [[noreturn]] void wrong(const Field& field, std::string_view name) const {
    refuse("{}: not a SentencePiece model ({} has wire type {})", origin_, name, field.wire);
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    refuse("{}: not a SentencePiece model (a number of more than 10 bytes)", origin_);
  }

  std::string_view take(std::uint64_t count) {
    if (count > rest_.size()) {
      refuse("{}: the SentencePiece model is cut short ({} bytes wanted, {} left)", origin_, count,
             rest_.size());
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  const std::string& origin_;
};

void read_piece(std::string_view bytes, const std::string& origin, SentencePieceFile& file) {
  MessageReader reader(bytes, origin);
  std::string_view text;
  float score = 0;
  std::uint64_t type = 1;
  for (Field field; reader.next(field);) {
    if (field.number == 1 && field.wire == kBytes) text = field.bytes;
    if (field.number == 2 && field.wire == kFixed32) {
      score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    }
    if (field.number == 3 && field.wire == kVarint) type = field.value;
  }
  const std::size_t id = file.pieces.size();
  if (!is_valid_utf8(text)) refuse("{}: piece {} is not UTF-8", origin, id);
  if (type < 1 || type > 6) refuse("{}: piece {} has type {}, expected 1..6", origin, id, type);
  if (!std::isfinite(score)) refuse("{}: piece {} has a score that is not finite", origin, id);
  file.pieces.emplace_back(text);
  file.scores.push_back(score);
  file.types.push_back(static_cast<PieceType>(type));
}

// int32 fields are written as sign-extended 64-bit numbers.
std::int64_t to_int32(std::uint64_t value) {
  return static_cast<std::int32_t>(value);
}

void read_trainer(std::string_view bytes, const std::string& origin, SentencePieceFile& file) {
  MessageReader reader(bytes, origin);
  for (Field field; reader.next(field);) {
    if (field.wire != kVarint) continue;
    switch (field.number) {
      case 3:
        file.model_type = to_int32(field.value);
        break;
      case 24:
        file.treat_whitespace_as_suffix = field.value != 0;
        break;
      case 35:
        file.byte_fallback = field.value != 0;
        break;
      case 40:
        file.unk_id = to_int32(field.value);
        break;
      case 41:
        file.bos_id = to_int32(field.value);
        break;
      case 42:
        file.eos_id = to_int32(field.value);
        break;
      case 43:
        file.pad_id = to_int32(field.value);
        break;
      default:
        break;
    }
  }
}

void read_normalizer(std::string_view bytes, const std::string& origin, SentencePieceFile& file) {
  MessageReader reader(bytes, origin);
  for (Field field; reader.next(field);) {
    if (field.number == 1 && field.wire == kBytes) file.normalizer_name = field.bytes;
    if (field.number == 2 && field.wire == kBytes) file.precompiled_charsmap = field.bytes;
    if (field.wire != kVarint) continue;
    if (field.number == 3) file.add_dummy_prefix = field.value != 0;
    if (field.number == 4) file.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) file.escape_whitespaces = field.value != 0;
  }
}

class MessageWriter {
 public:
  void number(std::uint64_t field, std::int64_t value) {
    varint(field << 3 | kVarint);
    varint(static_cast<std::uint64_t>(value));
  }
  void bytes(std::uint64_t field, std::string_view value) {
    varint(field << 3 | kBytes);
    varint(value.size());
    out_ += value;
  }
  void real(std::uint64_t field, float value) {
    varint(field << 3 | kFixed32);
    char raw[4];
    std::memcpy(raw, &value, 4);
    out_.append(raw, 4);
  }
  const std::string& message() const { return out_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }
  std::string out_;
};

}  // namespace

SentencePieceFile read_sentencepiece(std::string_view bytes, const std::string& origin) {
  SentencePieceFile file;
  MessageReader reader(bytes, origin);
  for (Field field; reader.next(field);) {
    if (field.number < 1 || field.number > 3) continue;
    if (field.wire != kBytes) reader.wrong(field, "a part");
    if (field.number == 1) read_piece(field.bytes, origin, file);
    if (field.number == 2) read_trainer(field.bytes, origin, file);
    if (field.number == 3) read_normalizer(field.bytes, origin, file);
  }
  if (file.pieces.empty()) refuse("{}: a SentencePiece model without pieces", origin);
  return file;
}

std::string write_sentencepiece(const SentencePieceFile& file) {
  MessageWriter model;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    MessageWriter piece;
    piece.bytes(1, file.pieces[id]);
    piece.real(2, file.scores[id]);
    piece.number(3, static_cast<std::int64_t>(file.types[id]));
    model.bytes(1, piece.message());
  }
  MessageWriter trainer;
  trainer.number(3, file.model_type);
  trainer.number(4, static_cast<std::int64_t>(file.pieces.size()));
  trainer.number(24, file.treat_whitespace_as_suffix);
  trainer.number(35, file.byte_fallback);
  trainer.number(40, file.unk_id);
  trainer.number(41, file.bos_id);
  trainer.number(42, file.eos_id);
  trainer.number(43, file.pad_id);
  model.bytes(2, trainer.message());
  MessageWriter normalizer;
  normalizer.bytes(1, file.normalizer_name);
  normalizer.bytes(2, file.precompiled_charsmap);
  normalizer.number(3, file.add_dummy_prefix);
  normalizer.number(4, file.remove_extra_whitespaces);
  normalizer.number(5, file.escape_whitespaces);
  model.bytes(3, normalizer.message());
  return model.message();
}

}  // namespace nibble::tokenizers
