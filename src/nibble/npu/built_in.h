// Files of data/npu that are part of the program.
#pragma once

#include <string_view>

namespace nibble::npu {

std::string_view built_in_parameters();        // parameters.json
std::string_view built_in_published_tables();  // published.csv

}  // namespace nibble::npu
