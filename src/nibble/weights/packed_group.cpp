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

// `q` is the value of a lane's first column; the columns of a lane are two apart.
void pack_w4_lane(const std::uint8_t* q, std::uint8_t* chunk, std::int64_t lane) {
  unsigned value = 0;
  for (int j = 0; j < 4; ++j) value |= static_cast<unsigned>(q[2 * j]) << (4 * j);
  store_lane(chunk, lane, value);
}

void unpack_w4_lane(const std::uint8_t* chunk, std::int64_t lane, std::uint8_t* q) {
  const unsigned value = load_lane(chunk, lane);
  for (int j = 0; j < 4; ++j) q[2 * j] = static_cast<std::uint8_t>((value >> (4 * j)) & 15u);
}

// Two 3-bit codes, which are two columns apart, as six bits.
unsigned join_w3(const std::uint8_t* q) {
  return q[0] | static_cast<unsigned>(q[2]) << 3;
}

void split_w3(unsigned six, std::uint8_t* q) {
  q[0] = static_cast<std::uint8_t>(six & 7u);
  q[2] = static_cast<std::uint8_t>((six >> 3) & 7u);
}

// The six bits of a fourth vector's byte, from the bytes of the three vectors.
unsigned fourth_w3(const std::uint8_t* byte) {
  return static_cast<unsigned>((byte[0] >> 6) | ((byte[64] >> 6) << 2) | ((byte[128] >> 6) << 4));
}

void pack_w3_lane(const std::uint8_t* q, std::uint8_t* chunk, std::int64_t lane) {
  for (int half = 0; half < 2; ++half) {
    const unsigned fourth = join_w3(q + 24 + 4 * half);
    for (int v = 0; v < 3; ++v) {
      const unsigned upper = (fourth >> (2 * v)) & 3u;
      chunk[64 * v + 2 * lane + half] =
          static_cast<std::uint8_t>(join_w3(q + 8 * v + 4 * half) | upper << 6);
    }
  }
}

void unpack_w3_lane(const std::uint8_t* chunk, std::int64_t lane, std::uint8_t* q) {
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t* byte = chunk + 2 * lane + half;
    for (int v = 0; v < 3; ++v) split_w3(byte[64 * v], q + 8 * v + 4 * half);
    split_w3(fourth_w3(byte), q + 24 + 4 * half);
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
  const std::uint8_t* byte = block + col / kW3Chunk * 192 + 2 * lane + col % 8 / 4;
  const std::int64_t v = col % kW3Chunk / 8;
  const unsigned six = v < 3 ? byte[64 * v] : fourth_w3(byte);
  return (six >> (3 * (col % 4 / 2))) & 7u;
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
    const float scale = to_float(view.scales[unit * kRowBlock + in_block]);
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
  for_each_lane(layout, [&](std::int64_t chunk, std::int64_t first, std::int64_t lane) {
    if (layout.bits == 4) {
      pack_w4_lane(q.data() + first, out.data() + chunk * 64, lane);
    } else {
      pack_w3_lane(q.data() + first, out.data() + chunk * 192, lane);
    }
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
