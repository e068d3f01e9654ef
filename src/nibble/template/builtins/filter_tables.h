// The filters by kind; filters.cpp puts them together.
#pragma once

#include <string>
#include <unordered_map>

#include "nibble/template/builtins/filters.h"

namespace nibble::jinja {

using FilterTable = std::unordered_map<std::string, Filter>;

const FilterTable& text_filters();
const FilterTable& value_filters();  // of numbers, and of anything
const FilterTable& sequence_filters();

}  // namespace nibble::jinja
