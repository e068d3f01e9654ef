// Any of the packed formats.
#pragma once

#include <cstdint>
#include <variant>

#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"

namespace nibble {

using PackedLayout = std::variant<PackedGroup, Int8PerChannel>;

WeightFormat packed_format(const PackedLayout& layout);
/// Bits of an integer: 4, 3 or 8.
int packed_bits(const PackedLayout& layout);
/// Columns that share a scale; 0 where a whole row does.
int packed_group_size(const PackedLayout& layout);
/// Integers, scales and zero points together.
std::int64_t packed_bytes(const PackedLayout& layout);

}  // namespace nibble
