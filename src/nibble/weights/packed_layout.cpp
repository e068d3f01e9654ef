#include "nibble/weights/packed_layout.h"

namespace nibble {

WeightFormat packed_format(const PackedLayout& layout) {
  switch (packed_bits(layout)) {
    case 4:
      return WeightFormat::kW4;
    case 3:
      return WeightFormat::kW3;
    default:
      return WeightFormat::kW8;
  }
}

int packed_bits(const PackedLayout& layout) {
  const auto* group = std::get_if<PackedGroup>(&layout);
  return group != nullptr ? group->bits : 8;
}

int packed_group_size(const PackedLayout& layout) {
  const auto* group = std::get_if<PackedGroup>(&layout);
  return group != nullptr ? group->group_size : 0;
}

std::int64_t packed_bytes(const PackedLayout& layout) {
  return std::visit([](const auto& format) { return format.total_bytes(); }, layout);
}

}  // namespace nibble
