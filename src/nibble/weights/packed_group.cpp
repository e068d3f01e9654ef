#include "nibble/weights/packed_group.h"

#include <cassert>
#include <cstring>

#include "nibble/weights/int8_per_channel.h"

namespace nibble {
namespace {

// A run of columns that one 64-byte chunk (4 bits) or 192-byte chunk (3 bits) holds.
constexpr std::int64_t kW4Chunk = 8;
constexpr std::int64_t kW3Chunk = 32;
constexpr std::int64_t kLanes = 32;  // 16-bit lanes of a 64-byte vector: 16 rows x 2 columns

void store_lane(std::uint8_t* vector, std::int64_t lane, unsigned value) {
  vector[2 * lane] = static_cast<std::uint8_t>(value & 0xffu);
  vector[2 * lane + 1] = static_cast<std::uint8_t>(value >> 8);
}

unsigned load_lane(const std::uint8_t* vector, std::int64_t lane) {
  return vector[2 * lane] | static_cast<unsigned>(vector[2 * lane + 1]) << 8;
}

// `q` are the eight values of a row in a chunk, `row` its two lanes: the even values of the first,
// the odd ones of the second.
void pack_w4_row(const std::uint8_t* q, std::uint8_t* row) {
  std::uint64_t values;
  std::memcpy(&values, q, sizeof values);             // value i in byte i: all x86 is little-endian
  const std::uint64_t pairs = values | values >> 12;  // bytes 0, 1, 4, 5: values 0 | 2, 1 | 3, ...
  const std::uint64_t even = (pairs & 0xffu) | (pairs >> 24 & 0xff00u);
  const std::uint64_t odd = (pairs >> 8 & 0xffu) | (pairs >> 32 & 0xff00u);
  const auto lanes = static_cast<std::uint32_t>(even | odd << 16);
  std::memcpy(row, &lanes, sizeof lanes);
}

void unpack_w4_lane(const std::uint8_t* chunk, std::int64_t lane, std::uint8_t* q) {
  const unsigned value = load_lane(chunk, lane);
  for (int j = 0; j < 4; ++j) q[2 * j] = static_cast<std::uint8_t>((value >> (4 * j)) & 15u);
}

// The bit of a lane of a 3-bit chunk's third vector that holds the upper bit of column pair j.
int w3_upper_bit(std::int64_t j) {
  return static_cast<int>(4 * (j / 8) + j % 4 + 8 * (j % 8 / 4));
}

void pack_w3_lane(const std::uint8_t* q, std::uint8_t* chunk, std::int64_t lane) {
  unsigned low[2] = {0, 0};
  unsigned high = 0;
  for (int j = 0; j < 16; ++j) {
    low[j / 8] |= (q[2 * j] & 3u) << (2 * (j % 8));
    high |= (static_cast<unsigned>(q[2 * j]) >> 2) << w3_upper_bit(j);
  }
  store_lane(chunk, lane, low[0]);
  store_lane(chunk + 64, lane, low[1]);
  store_lane(chunk + 128, lane, high);
}

void unpack_w3_lane(const std::uint8_t* chunk, std::int64_t lane, std::uint8_t* q) {
  const unsigned low[2] = {load_lane(chunk, lane), load_lane(chunk + 64, lane)};
  const unsigned high = load_lane(chunk + 128, lane);
  for (int j = 0; j < 16; ++j) {
    const unsigned lower = (low[j / 8] >> (2 * (j % 8))) & 3u;
    q[2 * j] = static_cast<std::uint8_t>(lower | (((high >> w3_upper_bit(j)) & 1u) << 2));
  }
}

// Calls visit(chunk index, first column of the lane, lane) for every lane of a block of 16 rows.
template <typename Visit>
void for_each_lane(const PackedGroup& layout, Visit visit) {
  const std::int64_t chunk_cols = layout.bits == 4 ? kW4Chunk : kW3Chunk;
  for (std::int64_t chunk = 0; chunk < layout.cols / chunk_cols; ++chunk) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const std::int64_t first = (lane / 2) * layout.cols + chunk * chunk_cols + lane % 2;
      visit(chunk, first, lane);
    }
  }
}

// One value out of a packed block: what unpack_codes writes to q[row * cols + col].
unsigned code_at(int bits, const std::uint8_t* block, std::int64_t row, std::int64_t col) {
  const std::int64_t lane = 2 * row + col % 2;
  if (bits == 4) {
    const unsigned value = load_lane(block + col / kW4Chunk * 64, lane);
    return (value >> (4 * (col % kW4Chunk / 2))) & 15u;
  }
  const std::uint8_t* chunk = block + col / kW3Chunk * 192;
  const std::int64_t in_chunk = col % kW3Chunk;
  const unsigned low = load_lane(chunk + in_chunk / 16 * 64, lane) >> (2 * (in_chunk % 16 / 2));
  const unsigned high = load_lane(chunk + 128, lane) >> w3_upper_bit(in_chunk / 2);
  return (low & 3u) | ((high & 1u) << 2);
}

// A unit of 16 zero points as one number; it has 2 * bits bytes.
std::uint64_t load_unit(int bits, const std::uint8_t* unit) {
  std::uint64_t value = 0;
  for (int byte = 0; byte < 2 * bits; ++byte) {
    value |= static_cast<std::uint64_t>(unit[byte]) << (8 * byte);
  }
  return value;
}

unsigned zero_at(int bits, std::uint64_t unit, std::int64_t row) {
  return static_cast<unsigned>(unit >> (bits * row)) & ((1u << bits) - 1u);
}

void packed_row(const WeightView& view, std::int64_t row, std::span<float> out) {
  const PackedGroup layout = packed_group_of(view);
  const std::int64_t block = row / kRowBlock;
  const std::int64_t in_block = row % kRowBlock;
  const auto* codes =
      static_cast<const std::uint8_t*>(view.data) + block * layout.block_code_bytes();
  for (std::int64_t group = 0; group < layout.groups(); ++group) {
    const std::int64_t unit = block * layout.groups() + group;
    const float scale = packed_scale(view, unit * kRowBlock + in_block);
    const auto zero = static_cast<int>(zero_at(
        layout.bits, load_unit(layout.bits, view.zeros + unit * 2 * layout.bits), in_block));
    for (std::int64_t c = group * layout.group_size; c < (group + 1) * layout.group_size; ++c) {
      const auto q = static_cast<int>(code_at(layout.bits, codes, in_block, c));
      out[static_cast<std::size_t>(c)] = static_cast<float>(q - zero) * scale;
    }
  }
}

void int8_row(const WeightView& view, std::int64_t row, std::span<float> out) {
  const auto* block = static_cast<const std::uint8_t*>(view.data) +
                      row / kRowBlock * int8_per_channel_of(view).block_code_bytes();
  for (std::int64_t col = 0; col < view.cols; ++col) {
    out[static_cast<std::size_t>(col)] =
        static_cast<float>(int8_at(block, row % kRowBlock, col)) * view.row_scales[row];
  }
}

// Row `row` of a row-major matrix; the elements may lie at any byte of a file.
template <typename Element, typename ToFloat>
void dense_row(const WeightView& view, std::int64_t row, std::span<float> out, ToFloat widen) {
  const auto* source = static_cast<const std::byte*>(view.data) + row * view.cols * sizeof(Element);
  for (float& value : out) {
    Element element;
    std::memcpy(&element, source, sizeof element);
    source += sizeof element;
    value = widen(element);
  }
}

}  // namespace

void pack_codes(const PackedGroup& layout, std::span<const std::uint8_t> q,
                std::span<std::uint8_t> out) {
  assert(std::ssize(q) == kRowBlock * layout.cols);
  assert(std::ssize(out) == layout.block_code_bytes());
  if (layout.bits == 4) {
    for (std::int64_t chunk = 0; chunk < layout.cols / kW4Chunk; ++chunk) {
      for (std::int64_t row = 0; row < kRowBlock; ++row) {
        pack_w4_row(q.data() + row * layout.cols + chunk * kW4Chunk,
                    out.data() + chunk * 64 + row * 4);
      }
    }
    return;
  }
  for_each_lane(layout, [&](std::int64_t chunk, std::int64_t first, std::int64_t lane) {
    pack_w3_lane(q.data() + first, out.data() + chunk * 192, lane);
  });
}

void unpack_codes(const PackedGroup& layout, std::span<const std::uint8_t> codes,
                  std::span<std::uint8_t> q) {
  assert(std::ssize(codes) == layout.block_code_bytes());
  assert(std::ssize(q) == kRowBlock * layout.cols);
  for_each_lane(layout, [&](std::int64_t chunk, std::int64_t first, std::int64_t lane) {
    if (layout.bits == 4) {
      unpack_w4_lane(codes.data() + chunk * 64, lane, q.data() + first);
    } else {
      unpack_w3_lane(codes.data() + chunk * 192, lane, q.data() + first);
    }
  });
}

void pack_zeros(const PackedGroup& layout, std::span<const std::uint8_t> zeros,
                std::span<std::uint8_t> out) {
  assert(std::ssize(zeros) == layout.groups() * kRowBlock);
  assert(std::ssize(out) == layout.block_zero_bytes());
  for (std::int64_t group = 0; group < layout.groups(); ++group) {
    std::uint64_t unit = 0;
    for (std::int64_t row = 0; row < kRowBlock; ++row) {
      const std::uint64_t zero = zeros[static_cast<std::size_t>(group * kRowBlock + row)];
      unit |= zero << (layout.bits * row);
    }
    for (int byte = 0; byte < 2 * layout.bits; ++byte) {
      out[static_cast<std::size_t>(group * 2 * layout.bits + byte)] =
          static_cast<std::uint8_t>((unit >> (8 * byte)) & 0xffu);
    }
  }
}

void unpack_zeros(const PackedGroup& layout, std::span<const std::uint8_t> packed,
                  std::span<std::uint8_t> zeros) {
  assert(std::ssize(packed) == layout.block_zero_bytes());
  assert(std::ssize(zeros) == layout.groups() * kRowBlock);
  for (std::int64_t group = 0; group < layout.groups(); ++group) {
    const std::uint64_t unit = load_unit(layout.bits, packed.data() + group * 2 * layout.bits);
    for (std::int64_t row = 0; row < kRowBlock; ++row) {
      zeros[static_cast<std::size_t>(group * kRowBlock + row)] =
          static_cast<std::uint8_t>(zero_at(layout.bits, unit, row));
    }
  }
}

PackedGroup packed_group_of(const WeightView& view) {
  assert(view.format == WeightFormat::kW4 || view.format == WeightFormat::kW3);
  return {.bits = view.format == WeightFormat::kW4 ? 4 : 3,
          .group_size = view.group_size,
          .rows = view.rows,
          .cols = view.cols};
}

float packed_scale(const WeightView& view, std::int64_t index) {
  return view.scales != nullptr ? to_float(view.scales[index]) : to_float(view.f16_scales[index]);
}

void weight_row(const WeightView& view, std::int64_t row, std::span<float> out) {
  assert(row >= 0 && row < view.rows && std::ssize(out) == view.cols);
  switch (view.format) {
    case WeightFormat::kF32:
      return dense_row<float>(view, row, out, [](float x) { return x; });
    case WeightFormat::kF16:
      return dense_row<Float16>(view, row, out, [](Float16 x) { return to_float(x); });
    case WeightFormat::kBF16:
      return dense_row<BFloat16>(view, row, out, [](BFloat16 x) { return to_float(x); });
    case WeightFormat::kW4:
    case WeightFormat::kW3:
      return packed_row(view, row, out);
    case WeightFormat::kW8:
      return int8_row(view, row, out);
  }
}

double bits_per_weight(const WeightView& view) {
  switch (view.format) {
    case WeightFormat::kF32:
      return 32;
    case WeightFormat::kF16:
    case WeightFormat::kBF16:
      return 16;
    case WeightFormat::kW4:
    case WeightFormat::kW3:
    case WeightFormat::kW8:
      break;
  }
  const std::int64_t bytes = view.format == WeightFormat::kW8
                                 ? int8_per_channel_of(view).total_bytes()
                                 : packed_group_of(view).total_bytes();
  return 8.0 * static_cast<double>(bytes) / static_cast<double>(view.rows * view.cols);
}

const char* weight_format_name(WeightFormat format) {
  constexpr const char* kNames[kWeightFormats] = {"f32", "f16", "bf16", "w4", "w3", "w8"};
  return kNames[static_cast<int>(format)];
}

}  // namespace nibble
