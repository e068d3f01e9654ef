#include "paths.h"

extern "C" __attribute__((weak)) void __asan_init();  // only AddressSanitizer has it

namespace nibble::testing {

std::string test_file(std::string_view name) {
  return NIBBLE_TEST_DIR "/" + std::string(name);
}

std::string data_file(std::string_view name) {
  return NIBBLE_DATA_DIR "/" + std::string(name);
}

std::string built_command() {
  return NIBBLE_COMMAND;
}

bool is_sanitized() {
  return __asan_init != nullptr;
}

}  // namespace nibble::testing
