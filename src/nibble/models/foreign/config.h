// What the tools' configs have in common.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "nibble/core/json.h"

namespace nibble::foreign {

/// "group_size": -1 stands for a whole row, 0 here; 128 where it is not said, as in transformers.
std::int64_t read_group_size(const JsonObject& config, const char* key);

/// The value of `key` in lower case; the first of `supported` where there is none. Throws Error if
/// it is none of them.
std::string check_value(const JsonObject& config, const char* key,
                        std::initializer_list<std::string_view> supported);

/// Rows and columns of a block that shares a scale: [128, 128] or, of old, "128x128".
std::pair<std::int64_t, std::int64_t> read_block(const JsonObject& config, const char* key);

/// Throws Error, naming `key`, if it is there and not empty.
void refuse_setting(const JsonObject& config, const char* key);

}  // namespace nibble::foreign
