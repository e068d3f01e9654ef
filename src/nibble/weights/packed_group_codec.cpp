// What there is to know of the formats of 4 and 3 bits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "nibble/weights/packed_group.h"

namespace nibble {
namespace {

constexpr int kGroupSizes[] = {128, 64, 32};
// Columns that are unpacked at a time: whole chunks of both formats, within one group.
constexpr std::int64_t kStripCols = 32;

std::span<std::uint8_t> bytes_of(std::span<std::byte> span) {
  return {reinterpret_cast<std::uint8_t*>(span.data()), span.size()};
}

/// Block `block` of a part, `bytes` long.
std::span<const std::uint8_t> block_of(const WeightView& view, std::size_t part, std::int64_t block,
                                       std::int64_t bytes) {
  return {static_cast<const std::uint8_t*>(view.parts[part]) + block * bytes,
          static_cast<std::size_t>(bytes)};
}

/// 4 bits: chunks of 8 columns in 64 bytes; 3 bits: chunks of 32 columns in 192 bytes.
PartLayouts parts(const WeightLayout& layout) {
  const PackedGroup sizes = packed_group_of(layout);
  const bool is_w4 = sizes.bits == 4;
  const DType scales = layout.scale_type == ScaleType::kBF16 ? DType::kBF16 : DType::kF16;
  return {{kCodesSuffix, DType::kU8, {sizes.cols / (is_w4 ? 8 : 32), is_w4 ? 64 : 192}},
          {kScalesSuffix, scales, {sizes.groups(), kRowBlock}},
          {kZerosSuffix, DType::kU8, {sizes.groups(), 2 * sizes.bits}}};
}

void dequantize(const WeightView& view, const BlockColumns& columns, float* out) {
  const PackedGroup whole = packed_group_of(view);
  const PackedGroup strip = {whole.bits, static_cast<int>(kStripCols), kRowBlock, kStripCols};
  const std::uint8_t* codes =
      block_of(view, kCodesPart, columns.block, whole.block_code_bytes()).data() +
      kRowBlock * columns.begin * whole.bits / 8;
  const std::uint8_t* zero_units =
      block_of(view, kZerosPart, columns.block, whole.block_zero_bytes()).data();
  std::uint8_t q[kRowBlock * kStripCols];
  std::uint8_t zeros[kRowBlock];
  for (std::int64_t c = 0; c < columns.cols; c += kStripCols) {
    const std::int64_t group = (columns.begin + c) / whole.group_size;
    unpack_codes(strip, {codes, static_cast<std::size_t>(strip.block_code_bytes())}, q);
    codes += strip.block_code_bytes();
    unpack_zeros(strip,
                 {zero_units + group * strip.block_zero_bytes(),
                  static_cast<std::size_t>(strip.block_zero_bytes())},
                 zeros);
    for (std::int64_t r = 0; r < kRowBlock; ++r) {
      const float scale =
          packed_scale(view, (columns.block * whole.groups() + group) * kRowBlock + r);
      for (std::int64_t i = 0; i < kStripCols; ++i) {
        out[(c + i) * kRowBlock + r] = static_cast<float>(q[r * kStripCols + i] - zeros[r]) * scale;
      }
    }
  }
}

void pack(const WeightLayout& layout, const IntegerBlock& from, const BlockSpans& out) {
  const PackedGroup sizes = packed_group_of(layout);
  pack_codes(sizes, from.q, bytes_of(out[kCodesPart]));
  pack_zeros(sizes, from.zeros, bytes_of(out[kZerosPart]));
  auto* scales = reinterpret_cast<std::uint16_t*>(out[kScalesPart].data());
  for (const float scale : from.scales) {
    *scales++ =
        layout.scale_type == ScaleType::kBF16 ? to_bfloat16(scale).bits : to_float16(scale).bits;
  }
}

void unpack(const WeightView& view, std::int64_t block, IntegerBlock& out) {
  const PackedGroup sizes = packed_group_of(view);
  unpack_codes(sizes, block_of(view, kCodesPart, block, sizes.block_code_bytes()), out.q);
  unpack_zeros(sizes, block_of(view, kZerosPart, block, sizes.block_zero_bytes()), out.zeros);
  std::int64_t at = block * sizes.groups() * kRowBlock;
  for (float& scale : out.scales) scale = packed_scale(view, at++);
}

/// Integers over the whole range: random bits.
void random_codes(const PackedGroup& sizes, std::int64_t rows, RandomBits& random,
                  std::span<std::byte> out) {
  for (std::size_t i = 0; i < out.size(); i += 8) {  // cols is a multiple of 32
    const std::uint64_t bits = random.next();
    std::memcpy(out.data() + i, &bits, 8);
  }
  if (rows == kRowBlock) return;
  std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * sizes.cols));
  unpack_codes(sizes, bytes_of(out), q);
  std::fill(q.begin() + rows * sizes.cols, q.end(), std::uint8_t{0});
  pack_codes(sizes, q, bytes_of(out));
}

void random_scales(const PackedGroup& sizes, const RandomBlock& block, RandomBits& random,
                   std::span<std::byte> out) {
  const float typical = block.deviation / integer_deviation(sizes.bits);
  auto* scales = reinterpret_cast<BFloat16*>(out.data());
  for (std::int64_t i = 0; i < sizes.groups() * kRowBlock; ++i) {
    const float scale = jitter(random) * typical;
    scales[i] = to_bfloat16(i % kRowBlock < block.rows ? scale : 0.0F);
  }
}

/// The two integers in the middle of the range, so that weights are 0 on average.
void random_zeros(const PackedGroup& sizes, std::int64_t rows, RandomBits& random,
                  std::span<std::byte> out) {
  const unsigned middle = (1U << (sizes.bits - 1)) - 1;
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(sizes.groups() * kRowBlock));
  for (std::size_t i = 0; i < zeros.size(); ++i) {
    const auto value = middle + static_cast<unsigned>(random.next() >> 63);
    const bool exists = static_cast<std::int64_t>(i) % kRowBlock < rows;
    zeros[i] = static_cast<std::uint8_t>(exists ? value : 0);
  }
  pack_zeros(sizes, zeros, bytes_of(out));
}

void fill_random(const WeightLayout& layout, const RandomBlock& block, RandomBits& random,
                 std::span<std::byte> out) {
  const PackedGroup sizes = packed_group_of(layout);
  if (block.part == kCodesPart) {
    random_codes(sizes, block.rows, random, out);
  } else if (block.part == kScalesPart) {
    random_scales(sizes, block, random, out);
  } else {
    random_zeros(sizes, block.rows, random, out);
  }
}

constexpr WeightCodec group_codec(WeightFormat format, const char* name, int bits,
                                  int since_version) {
  return {.format = format,
          .name = name,
          .bits = bits,
          .block_rows = kRowBlock,
          .group_sizes = kGroupSizes,
          .max_cols = 0,
          .ggml_type = DType::kQ4_1,
          .parts = parts,
          .dequantize = dequantize,
          .since_version = since_version,
          .pack = pack,
          .unpack = unpack,
          .fill_random = fill_random};
}

}  // namespace

extern const WeightCodec kW4Codec;
extern const WeightCodec kW3Codec;
constinit const WeightCodec kW4Codec = group_codec(WeightFormat::kW4, "w4", 4, 1);
constinit const WeightCodec kW3Codec = group_codec(WeightFormat::kW3, "w3", 3, 2);

}  // namespace nibble
