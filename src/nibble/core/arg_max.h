// Where the largest of many values is: the greedy choice of a token, made for each.
#pragma once

#include <cstddef>
#include <span>

namespace nibble {

/// The place of the largest value, the first of equal ones. What is not a number is smaller than
/// all numbers; 0 if there is no number.
std::size_t arg_max(std::span<const float> values);

}  // namespace nibble
