#include "nibble/npu/built_in.h"

// The assembler puts the files into the program.
__asm__(
    ".section .rodata\n"
    "nibble_npu_parameters_begin:\n"
    ".incbin \"" NIBBLE_NPU_DATA
    "/parameters.json\"\n"
    "nibble_npu_parameters_end:\n"
    "nibble_npu_published_begin:\n"
    ".incbin \"" NIBBLE_NPU_DATA
    "/published.csv\"\n"
    "nibble_npu_published_end:\n"
    ".previous\n");

extern const char parameters_begin[] __asm__("nibble_npu_parameters_begin");
extern const char parameters_end[] __asm__("nibble_npu_parameters_end");
extern const char published_begin[] __asm__("nibble_npu_published_begin");
extern const char published_end[] __asm__("nibble_npu_published_end");

namespace nibble::npu {

std::string_view built_in_parameters() {
  return {parameters_begin, parameters_end};
}

std::string_view built_in_published_tables() {
  return {published_begin, published_end};
}

}  // namespace nibble::npu
