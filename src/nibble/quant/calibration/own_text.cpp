// The calibration text that Nibble comes with.
#include "nibble/core/embedded_file.h"
#include "nibble/quant/calibration/text.h"

NIBBLE_EMBED_FILE(calibration_prose, NIBBLE_CALIBRATION_FOLDER "/prose.txt");
NIBBLE_EMBED_FILE(calibration_conversations, NIBBLE_CALIBRATION_FOLDER "/conversations.jsonl");
NIBBLE_EMBED_FILE(calibration_code, NIBBLE_CALIBRATION_FOLDER "/code.txt");
NIBBLE_EMBED_FILE(calibration_languages, NIBBLE_CALIBRATION_FOLDER "/languages.txt");

namespace nibble {

std::vector<CalibrationText> own_calibration_texts() {
  return {{"Nibble's own prose.txt", 3, calibration_prose},
          {"Nibble's own conversations.jsonl", 2, calibration_conversations},
          {"Nibble's own code.txt", 2, calibration_code},
          {"Nibble's own languages.txt", 1, calibration_languages}};
}

}  // namespace nibble
