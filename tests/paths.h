// Where tests find files of the repository and the built command, and what they run under.
#pragma once

#include <string>
#include <string_view>

namespace nibble::testing {

std::string test_file(std::string_view name);  // tests/NAME
std::string data_file(std::string_view name);  // data/NAME
std::string built_command();

bool is_sanitized();  // whether this program runs under AddressSanitizer

}  // namespace nibble::testing
