// The tokens that calibration runs through a model: blocks of a fixed length cut from texts, mixed
// by their shares.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// A text to calibrate on, or token ids (a .npy file of int32 numbers of any shape), and how many
/// of the blocks are its, relative to the others'.
struct CalibrationText {
  std::filesystem::path file;
  double share = 1;
};

/// "FILE" or "FILE:SHARE"; a file's own name may hold colons. Throws Error for a share that is not
/// above 0.
CalibrationText parse_calibration_text(const std::string& argument);

struct CalibrationOptions {
  std::vector<CalibrationText> texts;
  std::int64_t n_samples = 128;  // blocks in all
  std::int64_t seq_len = 512;    // tokens of a block
  std::uint64_t seed = 0;        // 0: each text's first blocks; else blocks drawn without return
};

/// (n_samples) blocks of seq_len ids. A text is encoded once, with the tokenizer's default special
/// tokens, and cut from its start; what is left over is dropped. Blocks come from the texts in
/// turn, each time from that which lags most behind its share (of those that lag alike, the first).
/// Throws Error for a text that cannot be read, that is empty or too short for its share.
std::vector<std::vector<std::int32_t>> calibration_blocks(const Tokenizer& tokenizer,
                                                          const CalibrationOptions& options);

}  // namespace nibble
