// What the tools' configs have in common.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "nibble/core/json.h"

namespace nibble::foreign {

/// "group_size": -1 stands for a whole row, 0 here.
std::int64_t read_group_size(const JsonObject& config, const char* key);

/// Throws Error unless `key` is absent or one of `supported` (whatever its case).
void check_value(const JsonObject& config, const char* key,
                 std::initializer_list<std::string_view> supported);

}  // namespace nibble::foreign
