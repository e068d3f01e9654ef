#include "paths.h"

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

}  // namespace nibble::testing
