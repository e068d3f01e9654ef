#include "nibble/weights/int8_per_channel.h"

#include <cassert>

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

void unpack_int8(const Int8PerChannel& layout, std::span<const std::uint8_t> codes,
                 std::span<std::int8_t> q) {
  assert(std::ssize(codes) == layout.block_code_bytes());
  assert(std::ssize(q) == kRowBlock * layout.cols);
  for (std::int64_t row = 0; row < kRowBlock; ++row) {
    for (std::int64_t col = 0; col < layout.cols; ++col) {
      q[static_cast<std::size_t>(row * layout.cols + col)] =
          static_cast<std::int8_t>(int8_at(codes.data(), row, col));
    }
  }
}

int int8_at(const std::uint8_t* block, std::int64_t row, std::int64_t col) {
  return block[place_of(row, col)] - kZero;
}

Int8PerChannel int8_per_channel_of(const WeightView& view) {
  assert(view.format == WeightFormat::kW8);
  return {.rows = view.rows, .cols = view.cols};
}

}  // namespace nibble
