// Calibration data: texts, or token ids, as blocks of one length.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/quant/calibration/documents.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// Something to calibrate on, and how many of the blocks are its, relative to the others'. A
/// `.jsonl` file is documents (documents.h), a `.npy` file token ids (int32 numbers of any shape),
/// any other a text.
struct CalibrationText {
  std::filesystem::path file;
  double share = 1;
  std::optional<std::string_view> content =
      {};  // of a text that is in memory; then `file` names it
};

/// "FILE" or "FILE:SHARE"; a file's own name may hold colons. Throws Error for a share that is not
/// above 0.
CalibrationText parse_calibration_text(const std::string& argument);

/// The mixed text that Nibble comes with (data/calibration): prose, conversations, code, several
/// languages.
std::vector<CalibrationText> own_calibration_texts();

struct CalibrationOptions {
  std::vector<CalibrationText> texts;
  std::int64_t n_samples = 128;  // blocks in all
  std::int64_t seq_len = 512;    // tokens of a block
  std::uint64_t seed = 0;        // 0: each text's first blocks; else blocks drawn without return
  RenderMessages render = {};    // of conversations in JSON lines
};

/// (n_samples) blocks of seq_len ids. A text, or each document of one, is encoded once, with the
/// tokenizer's default special tokens; documents stand one behind the other. It is cut from its
/// start; what is left over is dropped. Blocks come from the texts in turn, each time from that
/// which lags most behind its share (of those that lag alike, the first). Throws Error for a text
/// that cannot be read, that is empty or too short for its share.
std::vector<std::vector<std::int32_t>> calibration_blocks(const Tokenizer& tokenizer,
                                                          const CalibrationOptions& options);

}  // namespace nibble
