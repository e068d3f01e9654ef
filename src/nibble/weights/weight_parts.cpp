#include "nibble/weights/weight_parts.h"

namespace nibble {

WeightParts weight_parts(const WeightView& view) {
  const WeightCodec& codec = codec_of(view.format);
  WeightParts parts;
  std::size_t i = 0;
  for (const PartLayout& part : codec.parts(view)) {
    parts[i] = {static_cast<const std::byte*>(view.parts[i]), codec.block_rows, part.block_bytes(),
                block_count(view)};
    ++i;
  }
  return parts;
}

WeightView with_parts_at(const WeightLayout& layout,
                         const std::array<const std::byte*, kWeightParts>& data) {
  WeightView view{layout, {}};
  const std::size_t count = codec_of(layout.format).parts(layout).size();
  for (std::size_t i = 0; i < count; ++i) view.parts[i] = data[i];
  return view;
}

}  // namespace nibble
