// Text to token ids and back, exactly as the model was trained with it. One class for all kinds of
// tokenizer files: Hugging Face's tokenizer.json (BPE), vocab.json + merges.txt, SentencePiece's
// and tiktoken's tokenizer.model, and the tables in a GGUF file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

namespace tokenizers {
struct Parts;
}

/// The tokenizer's tables of a GGUF file ("tokenizer.ggml.*"); the names are those of its keys.
struct GgufVocab {
  std::string origin;  // the file, for errors
  std::string model;   // "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE)
  std::string pre;     // how "gpt2" cuts text into words; empty: "default"
  std::vector<std::string> tokens;
  std::vector<float> scores;        // "llama": one a token
  std::vector<std::int32_t> types;  // one a token: 1 normal, 2 unknown, 3 control, 4 user-defined,
                                    // 5 unused, 6 byte; empty: all normal
  std::vector<std::string> merges;  // "gpt2": "left right"
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  std::optional<std::int32_t> unk;
  std::optional<std::int32_t> pad;
  std::optional<std::int32_t> eot;  // end of turn
  std::optional<std::int32_t> eom;  // end of message
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::optional<bool> add_space_prefix;
  std::optional<bool> remove_extra_whitespaces;
  std::string precompiled_charsmap;
  std::string chat_template;
};

struct EncodeOptions {
  bool add_special = true;    // BOS, EOS, where the tokenizer adds them
  bool parse_special = true;  // special tokens in the text are tokens; else they are plain text
};

/// Immutable, and safe to use from several threads at once.
class Tokenizer {
 public:
  /// From a model's folder: tokenizer.json, else tokenizer.model, else vocab.json and merges.txt;
  /// tokenizer_config.json and its companions beside them. Throws Error naming file and key.
  static Tokenizer load(const std::filesystem::path& folder);
  /// Throws Error, opening with `vocab.origin`.
  static Tokenizer from_gguf(const GgufVocab& vocab);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// The ids of a text. Each maximal invalid part of UTF-8 is read as U+FFFD. Throws Error for more
  /// than 1 GiB of text.
  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// The text of ids, always valid UTF-8 (U+FFFD for each maximal invalid part). Ids that have no
  /// token (a model's vocabulary may be padded) give nothing.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;

  /// The largest id plus one; a few ids below may have no token.
  std::int32_t vocab_size() const;
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// The token as the vocabulary writes it ("Ġthe", "▁the", "<0x0A>"); empty if there is none.
  std::string_view id_to_token(std::int32_t id) const;
  /// What the token stands for in the middle of a text (" the", "\n"), which may be part of a
  /// character; empty if there is none.
  std::string_view token_bytes(std::int32_t id) const;

  std::optional<std::int32_t> bos_id() const;
  std::optional<std::int32_t> eos_id() const;
  /// All ids that end a generation: the declared EOS, end-of-turn and end-of-message tokens, and
  /// special tokens with the customary names of such ("<|eot_id|>", "<|im_end|>" ...). EOS is
  /// first.
  std::vector<std::int32_t> end_ids() const;

  /// Writes files into an existing folder from which load() makes the same tokenizer:
  /// tokenizer_config.json, and tokenizer.json or (SentencePiece) tokenizer.model.
  void save(const std::filesystem::path& folder) const;

  /// The same, with tokenizer.json in any case: what all of Hugging Face's libraries read alike.
  void save_as_json(const std::filesystem::path& folder) const;

  /// The tables of a GGUF file from which from_gguf() makes the same tokenizer. Throws Error for
  /// one that GGUF cannot describe (it knows ways of cutting text by name only), saying what of it.
  GgufVocab to_gguf() const;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::unique_ptr<const tokenizers::Parts> parts);
  std::unique_ptr<const tokenizers::Parts> parts_;
};

struct StreamOptions {
  bool skip_special = false;
  /// The ids go on where other text was: the first token keeps the blank that it would lose at the
  /// start of a text.
  bool continues = false;
};

/// Decodes ids one by one. The texts that push() and finish() give, one behind the other, are what
/// decode() gives for all ids; no character is ever given in parts.
class StreamDecoder {
 public:
  /// `tokenizer` must outlive this.
  explicit StreamDecoder(const Tokenizer& tokenizer, const StreamOptions& options = {});

  /// The text that is complete with this id; often empty.
  std::string push(std::int32_t id);
  /// What is left: U+FFFD if the last character was cut short. Starts a new text.
  std::string finish();

 private:
  const tokenizers::Parts* parts_;
  StreamOptions options_;
  std::string pending_;  // the start of an unfinished character
  bool first_;           // the next token is the first
  bool started_;         // there has been text
  std::int64_t strips_left_;
};

}  // namespace nibble
