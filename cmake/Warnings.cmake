# Warnings are errors, for our own targets. What is switched off, and why:
#   missing-field-initializers  designated initializers leave fields to their defaults on purpose
#   maybe-uninitialized, uninitialized  GCC 12's AVX-512 headers use the undefined value (GCC bug 105593)
#   shadow of names outside functions  another file's name, where a folder is compiled as one
#   restrict                    GCC 12 reports std::string operator+ falsely (GCC bug 105651)
# The compiler cleans up its own memory from 512 MB on only: a tenth of the time.
add_library(nibble_options INTERFACE)
target_compile_options(nibble_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow=local -Wconversion -Wno-sign-conversion -Werror
  -Wno-missing-field-initializers -Wno-maybe-uninitialized -Wno-uninitialized -Wno-restrict
  --param=ggc-min-heapsize=524288)

# Under AddressSanitizer and UndefinedBehaviorSanitizer, with asserts. The warnings are those of the
# other objects. Left out is what AddressSanitizer sees itself, at the access or the call: with a check
# before each access the compiler takes twice as long.
add_library(nibble_sanitized_options INTERFACE)
target_compile_options(nibble_sanitized_options INTERFACE
  -w -fsanitize=address,undefined -fno-sanitize=null,object-size,pointer-overflow,vptr
  -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -UNDEBUG
  --param=ggc-min-heapsize=524288)
target_compile_definitions(nibble_sanitized_options INTERFACE _GLIBCXX_ASSERTIONS)
