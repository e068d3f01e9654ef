#include "nibble/weights/int8_per_channel.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace nibble {
namespace {

constexpr int kChunkCols = 4;
constexpr int kChunkBytes = 64;
constexpr int kZero = 128;

/// Where row `row`, column `col` of a block lies.
std::int64_t place_of(std::int64_t row, std::int64_t col) {
  constexpr int kByte[kChunkCols] = {0, 2, 1, 3};
  return col / kChunkCols * kChunkBytes + row * kChunkCols + kByte[col % kChunkCols];
}

}  // namespace

void pack_int8(const Int8PerChannel& layout, std::span<const std::int8_t> q,
               std::span<std::uint8_t> out) {
  assert(std::ssize(q) == kRowBlock * layout.cols);
  assert(std::ssize(out) == layout.block_code_bytes());
  for (std::int64_t row = 0; row < kRowBlock; ++row) {
    for (std::int64_t col = 0; col < layout.chunks() * kChunkCols; ++col) {
      const int value =
          col < layout.cols ? q[static_cast<std::size_t>(row * layout.cols + col)] : 0;
      out[static_cast<std::size_t>(place_of(row, col))] = static_cast<std::uint8_t>(value + kZero);
    }
  }
}

int int8_at(const std::uint8_t* block, std::int64_t row, std::int64_t col) {
  return block[place_of(row, col)] - kZero;
}

Int8PerChannel int8_per_channel_of(const WeightLayout& layout) {
  assert(layout.format == WeightFormat::kW8);
  return {.rows = layout.rows, .cols = layout.cols};
}

namespace {

std::span<std::uint8_t> bytes_of(std::span<std::byte> span) {
  return {reinterpret_cast<std::uint8_t*>(span.data()), span.size()};
}

const std::uint8_t* block_of(const WeightView& view, std::int64_t block) {
  return static_cast<const std::uint8_t*>(view.parts[kCodesPart]) +
         block * int8_per_channel_of(view).block_code_bytes();
}

const float* scales_of(const WeightView& view, std::int64_t block) {
  return static_cast<const float*>(view.parts[kScalesPart]) + block * kRowBlock;
}

PartLayouts parts(const WeightLayout& layout) {
  return {{kCodesSuffix, DType::kU8, {int8_per_channel_of(layout).chunks(), kChunkBytes}},
          {kScalesSuffix, DType::kF32, {kRowBlock}}};
}

void dequantize(const WeightView& view, const BlockColumns& columns, float* out) {
  const std::uint8_t* codes = block_of(view, columns.block);
  const float* scales = scales_of(view, columns.block);
  for (std::int64_t c = 0; c < columns.cols; ++c) {
    for (std::int64_t r = 0; r < kRowBlock; ++r) {
      out[c * kRowBlock + r] = static_cast<float>(int8_at(codes, r, columns.begin + c)) * scales[r];
    }
  }
}

void pack(const WeightLayout& layout, const IntegerBlock& from, const BlockSpans& out) {
  std::vector<std::int8_t> q(from.q.size());
  for (std::size_t i = 0; i < q.size(); ++i) {
    const std::size_t row = i / static_cast<std::size_t>(from.cols);
    q[i] = static_cast<std::int8_t>(from.q[i] - from.zeros[row]);
  }
  pack_int8(int8_per_channel_of(layout), q, bytes_of(out[kCodesPart]));
  std::memcpy(out[kScalesPart].data(), from.scales.data(), out[kScalesPart].size());
}

/// As integers with a zero point of 128.
void unpack(const WeightView& view, std::int64_t block, IntegerBlock& out) {
  const std::uint8_t* codes = block_of(view, block);
  const float* scales = scales_of(view, block);
  for (std::int64_t r = 0; r < kRowBlock; ++r) {
    out.zeros[static_cast<std::size_t>(r)] = kZero;
    out.scales[static_cast<std::size_t>(r)] = scales[r];
    for (std::int64_t c = 0; c < view.cols; ++c) {
      out.q[static_cast<std::size_t>(r * view.cols + c)] = codes[place_of(r, c)];
    }
  }
}

/// Integers of -127 .. 127.
void random_codes(const Int8PerChannel& sizes, std::int64_t rows, RandomBits& random,
                  std::span<std::byte> out) {
  std::vector<std::int8_t> q(static_cast<std::size_t>(kRowBlock * sizes.cols));
  for (std::int64_t i = 0; i < rows * sizes.cols; i += 8) {
    std::uint64_t bits = random.next();
    for (std::int64_t j = i; j < std::min(i + 8, rows * sizes.cols); ++j, bits >>= 8) {
      const auto value = static_cast<std::int8_t>(bits & 0xffu);
      q[static_cast<std::size_t>(j)] = std::max(value, std::int8_t{-127});
    }
  }
  pack_int8(sizes, q, bytes_of(out));
}

void fill_random(const WeightLayout& layout, const RandomBlock& block, RandomBits& random,
                 std::span<std::byte> out) {
  if (block.part == kCodesPart) {
    return random_codes(int8_per_channel_of(layout), block.rows, random, out);
  }
  float scales[kRowBlock] = {};
  for (std::int64_t i = 0; i < block.rows; ++i) {
    scales[i] = jitter(random) * (block.deviation / integer_deviation(8));
  }
  std::memcpy(out.data(), scales, sizeof scales);
}

}  // namespace

extern const WeightCodec kW8Codec;
constinit const WeightCodec kW8Codec = {.format = WeightFormat::kW8,
                                        .name = "w8",
                                        .bits = 8,
                                        .block_rows = kRowBlock,
                                        .group_sizes = {},
                                        .max_cols = kMaxInt8Cols,
                                        .ggml_type = DType::kQ8_0,
                                        .parts = parts,
                                        .dequantize = dequantize,
                                        .since_version = 1,
                                        .pack = pack,
                                        .unpack = unpack,
                                        .fill_random = fill_random};

}  // namespace nibble
