// Scale and zero point of a group by search: the range of its weights, 0 included, is shrunk in
// steps, and the one with the least error weighted by the inputs' squares wins; then the scale is
// fitted to the integers by least squares. (In the manner of llama.cpp's make_qkx2_quants with an
// importance matrix.)
#pragma once

#include <span>

#include "nibble/quant/rounders/integer_rows.h"

namespace nibble {

/// Sets scales, zero points and nearest integers of all groups of `rows`. weights: (rows, cols),
/// finite. importance: (cols), 0 or more: what a squared error of a column's weight counts. With
/// lo <= 0 <= hi the group's range, for p = 1, 0.95 ... 0.5: scale = bf16(max(p (hi - lo), 1e-5) /
/// qmax), zero = clamp(round(-p lo / scale)); ties go to the larger p. Then twice: scale = bf16(sum
/// d (q - zero) w / sum d (q - zero)^2), integers rounded anew, kept where the error falls.
void search_ranges(std::span<const float> weights, std::span<const float> importance,
                   IntegerRows& rows);

}  // namespace nibble
