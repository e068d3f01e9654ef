#include "nibble/weights/weight_parts.h"

#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"

namespace nibble {
namespace {

const std::byte* bytes_at(const void* data) {
  return static_cast<const std::byte*>(data);
}

}  // namespace

WeightParts weight_parts(const WeightView& view) {
  const WeightPart none{nullptr, 1, 0, 0};
  if (view.format == WeightFormat::kW8) {
    const Int8PerChannel layout = int8_per_channel_of(view);
    const std::int64_t blocks = layout.row_blocks();
    return {WeightPart{bytes_at(view.data), kRowBlock, layout.block_code_bytes(), blocks},
            WeightPart{bytes_at(view.row_scales), kRowBlock, layout.block_scale_bytes(), blocks},
            none};
  }
  if (view.format == WeightFormat::kW4 || view.format == WeightFormat::kW3) {
    const PackedGroup layout = packed_group_of(view);
    const std::int64_t blocks = layout.row_blocks();
    return {WeightPart{bytes_at(view.data), kRowBlock, layout.block_code_bytes(), blocks},
            WeightPart{bytes_at(view.scales), kRowBlock, layout.block_scale_bytes(), blocks},
            WeightPart{bytes_at(view.zeros), kRowBlock, layout.block_zero_bytes(), blocks}};
  }
  const std::int64_t element_bytes = view.format == WeightFormat::kF32 ? 4 : 2;
  return {WeightPart{bytes_at(view.data), 1, view.cols * element_bytes, view.rows}, none, none};
}

std::int64_t weight_bytes(const WeightView& view) {
  std::int64_t bytes = 0;
  for (const WeightPart& part : weight_parts(view)) bytes += part.bytes();
  return bytes;
}

WeightView with_parts_at(WeightView view, const std::array<const std::byte*, kWeightParts>& data) {
  view.data = data[0];
  if (view.format == WeightFormat::kW8) {
    view.row_scales = reinterpret_cast<const float*>(data[1]);
  } else if (view.group_size > 0) {
    view.scales = reinterpret_cast<const BFloat16*>(data[1]);
    view.zeros = reinterpret_cast<const std::uint8_t*>(data[2]);
  }
  return view;
}

}  // namespace nibble
