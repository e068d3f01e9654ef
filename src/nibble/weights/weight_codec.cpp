#include "nibble/weights/weight_codec.h"

#include <algorithm>
#include <cassert>

namespace nibble {

extern const WeightCodec kF32Codec;
extern const WeightCodec kF16Codec;
extern const WeightCodec kBF16Codec;
extern const WeightCodec kW4Codec;
extern const WeightCodec kW3Codec;
extern const WeightCodec kW8Codec;

namespace {

/// By WeightFormat.
constexpr const WeightCodec* kCodecs[] = {&kF32Codec, &kF16Codec, &kBF16Codec,
                                          &kW4Codec,  &kW3Codec,  &kW8Codec};
static_assert(std::size(kCodecs) == kWeightFormats);

}  // namespace

std::int64_t PartLayout::block_bytes() const {
  std::int64_t bytes = dtype_layout(dtype).bytes;
  for (const std::int64_t size : block_shape) bytes *= std::max<std::int64_t>(size, 1);
  return bytes;
}

std::vector<std::int64_t> PartLayout::tensor_shape(std::int64_t blocks) const {
  std::vector<std::int64_t> shape = {blocks, block_shape[0]};
  if (block_shape[1] > 0) shape.push_back(block_shape[1]);
  return shape;
}

PartLayouts::PartLayouts(std::initializer_list<PartLayout> parts) : parts_(), size_(parts.size()) {
  assert(size_ <= kWeightParts);
  std::copy(parts.begin(), parts.end(), parts_.begin());
}

IntegerBlock::IntegerBlock(std::int64_t n_cols, std::int64_t n_groups)
    : cols(n_cols),
      groups(n_groups),
      q(static_cast<std::size_t>(kRowBlock * n_cols)),
      zeros(static_cast<std::size_t>(kRowBlock * n_groups)),
      scales(zeros.size()) {}

const WeightCodec& codec_of(WeightFormat format) {
  return *kCodecs[static_cast<std::size_t>(format)];
}

std::vector<const WeightCodec*> checkpoint_codecs() {
  std::vector<const WeightCodec*> codecs;
  for (const WeightCodec* codec : kCodecs) {
    if (codec->pack != nullptr) codecs.push_back(codec);
  }
  std::sort(codecs.begin(), codecs.end(),
            [](const WeightCodec* a, const WeightCodec* b) { return a->bits < b->bits; });
  return codecs;
}

const WeightCodec* find_checkpoint_codec(int bits) {
  for (const WeightCodec* codec : checkpoint_codecs()) {
    if (codec->bits == bits) return codec;
  }
  return nullptr;
}

std::int64_t block_count(const WeightLayout& layout) {
  const std::int64_t rows = codec_of(layout.format).block_rows;
  return (layout.rows + rows - 1) / rows;
}

std::int64_t group_count(const WeightLayout& layout) {
  return layout.group_size > 0 ? layout.cols / layout.group_size : 1;
}

std::int64_t weight_bytes(const WeightLayout& layout) {
  std::int64_t block_bytes = 0;
  for (const PartLayout& part : codec_of(layout.format).parts(layout)) {
    block_bytes += part.block_bytes();
  }
  return block_count(layout) * block_bytes;
}

double bits_per_weight(const WeightLayout& layout) {
  return 8.0 * static_cast<double>(weight_bytes(layout)) /
         static_cast<double>(layout.rows * layout.cols);
}

}  // namespace nibble
