// Files that are part of the program, so that they are there wherever it is. The assembler puts
// them in: as strings in the source they would have to be cut into pieces that compilers take.
#pragma once

#include <string_view>

/// Outside of namespaces: makes NAME a std::string_view of the file at `path`, a string literal. A
/// build depends on the file by OBJECT_DEPENDS. For one source alone: NAME is local to it.
#define NIBBLE_EMBED_FILE(name, path)                                          \
  __asm__(                                                                     \
      ".section .rodata\n"                                                     \
      "nibble_embedded_" #name                                                 \
      "_begin:\n"                                                              \
      ".incbin \"" path                                                        \
      "\"\n"                                                                   \
      "nibble_embedded_" #name                                                 \
      "_end:\n"                                                                \
      ".previous\n");                                                          \
  extern const char name##_begin[] __asm__("nibble_embedded_" #name "_begin"); \
  extern const char name##_end[] __asm__("nibble_embedded_" #name "_end");     \
  static const std::string_view name(name##_begin,                             \
                                     static_cast<std::size_t>(name##_end - name##_begin))
