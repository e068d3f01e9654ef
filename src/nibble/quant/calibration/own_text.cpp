// The calibration text that Nibble comes with is part of the program, so that it is there wherever
// the program is.
#include "nibble/quant/calibration/text.h"

// The assembler puts the files there: as strings in the source they would have to be cut into
// pieces that compilers take.
#define NIBBLE_INCLUDE_TEXT(name, file)                               \
  __asm__(                                                            \
      ".section .rodata\n"                                            \
      "nibble_" #name                                                 \
      "_begin:\n"                                                     \
      ".incbin \"" NIBBLE_CALIBRATION_FOLDER "/" file                 \
      "\"\n"                                                          \
      "nibble_" #name                                                 \
      "_end:\n"                                                       \
      ".previous\n");                                                 \
  extern const char name##_begin[] __asm__("nibble_" #name "_begin"); \
  extern const char name##_end[] __asm__("nibble_" #name "_end")

NIBBLE_INCLUDE_TEXT(calibration_prose, "prose.txt");
NIBBLE_INCLUDE_TEXT(calibration_conversations, "conversations.jsonl");
NIBBLE_INCLUDE_TEXT(calibration_code, "code.txt");
NIBBLE_INCLUDE_TEXT(calibration_languages, "languages.txt");

namespace nibble {

std::vector<CalibrationText> own_calibration_texts() {
  const auto text = [](const char* begin, const char* end) { return std::string_view(begin, end); };
  return {
      {"Nibble's own prose.txt", 3, text(calibration_prose_begin, calibration_prose_end)},
      {"Nibble's own conversations.jsonl", 2,
       text(calibration_conversations_begin, calibration_conversations_end)},
      {"Nibble's own code.txt", 2, text(calibration_code_begin, calibration_code_end)},
      {"Nibble's own languages.txt", 1,
       text(calibration_languages_begin, calibration_languages_end)},
  };
}

}  // namespace nibble
