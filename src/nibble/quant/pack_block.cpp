#include "nibble/quant/pack_block.h"

#include <algorithm>
#include <vector>

#include "nibble/quant/per_channel.h"
#include "nibble/quant/per_group.h"

namespace nibble {
namespace {

template <typename T>
std::span<T> as(std::span<std::byte> bytes) {
  return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
}

RoundingError pack_rows(const PackedGroup& layout, std::span<const float> weights,
                        std::int64_t rows, const PackedBlock& out) {
  std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * layout.cols));
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(layout.groups() * kRowBlock));
  const auto group_size = static_cast<std::size_t>(layout.group_size);
  const std::span<BFloat16> scales = as<BFloat16>(out[1]);
  RoundingError error;
  std::fill(scales.begin(), scales.end(), BFloat16{0});
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t group = 0; group < layout.groups(); ++group) {
      const auto at = static_cast<std::size_t>(row * layout.cols + group * layout.group_size);
      const GroupParameters parameters = round_group(weights.subspan(at, group_size), layout.bits,
                                                     std::span(q).subspan(at, group_size), error);
      const auto place = static_cast<std::size_t>(group * kRowBlock + row);
      scales[place] = parameters.scale;
      zeros[place] = parameters.zero;
    }
  }
  pack_codes(layout, q, as<std::uint8_t>(out[0]));
  pack_zeros(layout, zeros, as<std::uint8_t>(out[2]));
  return error;
}

RoundingError pack_rows(const Int8PerChannel& layout, std::span<const float> weights,
                        std::int64_t rows, const PackedBlock& out) {
  const auto cols = static_cast<std::size_t>(layout.cols);
  std::vector<std::int8_t> q(static_cast<std::size_t>(kRowBlock) * cols);
  const std::span<float> scales = as<float>(out[1]);
  RoundingError error;
  std::fill(scales.begin(), scales.end(), 0.0f);
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    scales[row] = round_channel(weights.subspan(row * cols, cols),
                                std::span(q).subspan(row * cols, cols), error);
  }
  pack_int8(layout, q, as<std::uint8_t>(out[0]));
  return error;
}

}  // namespace

RoundingError pack_block(const PackedLayout& layout, std::span<const float> weights,
                         std::int64_t rows, const PackedBlock& out) {
  return std::visit([&](const auto& format) { return pack_rows(format, weights, rows, out); },
                    layout);
}

}  // namespace nibble
