#include "nibble/weights/packed_group.h"

#include <cassert>
#include <cstring>

namespace nibble {
namespace {

// A run of columns that one 64-byte chunk (4 bits) or 192-byte chunk (3 bits) holds.
constexpr std::int64_t kW4Chunk = 8;
constexpr std::int64_t kW3Chunk = 32;
constexpr std::int64_t kLanes = 32;  // 16-bit lanes of a 64-byte vector: 16 rows x 2 columns

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

PackedGroup packed_group_of(const WeightLayout& layout) {
  assert(layout.format == WeightFormat::kW4 || layout.format == WeightFormat::kW3);
  return {.bits = layout.format == WeightFormat::kW4 ? 4 : 3,
          .group_size = layout.group_size,
          .rows = layout.rows,
          .cols = layout.cols};
}

float packed_scale(const WeightView& view, std::int64_t index) {
  const void* scales = view.parts[kScalesPart];
  return view.scale_type == ScaleType::kBF16 ? to_float(static_cast<const BFloat16*>(scales)[index])
                                             : to_float(static_cast<const Float16*>(scales)[index]);
}

}  // namespace nibble
