# Warnings are errors, for our own targets. What is switched off, and why:
#   missing-field-initializers  designated initializers leave fields to their defaults on purpose
#   maybe-uninitialized, uninitialized  GCC 12's AVX-512 headers use the undefined value (GCC bug 105593)
#   restrict                    GCC 12 reports std::string operator+ falsely (GCC bug 105651)
add_library(nibble_options INTERFACE)
target_compile_options(nibble_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror
  -Wno-missing-field-initializers -Wno-maybe-uninitialized -Wno-uninitialized -Wno-restrict)
# The compiler cleans up its own memory from 512 MB on only: a tenth of the time.
target_compile_options(nibble_options INTERFACE --param=ggc-min-heapsize=524288)
if(NIBBLE_SANITIZE)
  target_compile_options(nibble_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_definitions(nibble_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_link_options(nibble_options INTERFACE -fsanitize=address,undefined)
endif()
