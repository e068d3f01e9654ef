#include "report_page.h"

// The assembler puts the file into the program: as a string in the source it would have to be cut
// into pieces that compilers take.
__asm__(
    ".section .rodata\n"
    "nibble_report_page_begin:\n"
    ".incbin \"" NIBBLE_REPORT_PAGE
    "\"\n"
    "nibble_report_page_end:\n"
    ".previous\n");

extern const char page_begin[] __asm__("nibble_report_page_begin");
extern const char page_end[] __asm__("nibble_report_page_end");

namespace nibble::cli {

std::string_view report_page() {
  return {page_begin, page_end};
}

}  // namespace nibble::cli
