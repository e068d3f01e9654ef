#include "nibble/weights/weight_codec.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "nibble/weights/weight_parts.h"
#include "weights/weight_values.h"

namespace nibble {
namespace {

TEST(WeightCodecs, KnowWhatTheyAre) {
  std::set<std::string> names;
  for (int i = 0; i < kWeightFormats; ++i) {
    const auto format = static_cast<WeightFormat>(i);
    EXPECT_EQ(codec_of(format).format, format);
    EXPECT_TRUE(names.insert(codec_of(format).name).second);
  }
  EXPECT_EQ(names, (std::set<std::string>{"f32", "f16", "bf16", "w4", "w3", "w8"}));
}

TEST(WeightCodecs, OfCheckpointsAreFoundByBits) {
  std::vector<int> bits;
  for (const WeightCodec* codec : checkpoint_codecs()) {
    bits.push_back(codec->bits);
    EXPECT_EQ(find_checkpoint_codec(codec->bits), codec);
  }
  EXPECT_EQ(bits, (std::vector<int>{3, 4, 8}));
  EXPECT_EQ(find_checkpoint_codec(5), nullptr);
  EXPECT_EQ(find_checkpoint_codec(16), nullptr) << "dense weights are no packed ones";
}

TEST(WeightCodecs, DenseOnesWiden) {
  const std::vector<float> f32 = {1.5F, -2.0F, 3.25F, 4.0F, 5.0F, -6.5F};
  std::vector<Float16> f16;
  std::vector<BFloat16> bf16;
  for (const float x : f32) {
    f16.push_back(to_float16(x));
    bf16.push_back(to_bfloat16(x));
  }
  for (const WeightView& view : {WeightView{{WeightFormat::kF32, 2, 3}, {f32.data()}},
                                 WeightView{{WeightFormat::kF16, 2, 3}, {f16.data()}},
                                 WeightView{{WeightFormat::kBF16, 2, 3}, {bf16.data()}}}) {
    EXPECT_EQ(test::weight_values(view), f32) << codec_of(view.format).name;
  }
}

TEST(BitsPerWeight, CountsScalesZeroPointsAndFilledUpRows) {
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kF32, 5, 7}), 32);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kBF16, 5, 7}), 16);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW4, 64, 256, 128}), 4.15625);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW4, 64, 256, 32}), 4.625);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW3, 64, 256, 128}), 3 + 19.0 / 128);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW4, 8, 256, 128}), 2 * 4.15625);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW8, 64, 256}), 8 + 32.0 / 256);
  EXPECT_EQ(weight_bytes({WeightFormat::kW8, 17, 9}), 2 * 3 * 64 + 2 * 16 * 4);
}

TEST(WeightParts, AreThoseOfTheCodecAtTheirPlaces) {
  const std::byte memory[3] = {};
  const WeightLayout layout{WeightFormat::kW3, 40, 128, 64, ScaleType::kF16};
  const WeightView view = with_parts_at(layout, {memory, memory + 1, memory + 2});
  const WeightParts parts = weight_parts(view);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < kWeightParts; ++i) {
    EXPECT_EQ(parts[i].data, memory + i);
    EXPECT_EQ(parts[i].block_rows, 16);
    EXPECT_EQ(parts[i].blocks, 3);
    bytes += parts[i].bytes();
  }
  EXPECT_EQ(bytes, weight_bytes(layout));
  EXPECT_EQ(parts[kScalesPart].block_bytes, 2 * 16 * 2);
  const WeightView dense = with_parts_at({WeightFormat::kF16, 40, 128}, {memory, memory, memory});
  EXPECT_EQ(dense.parts[kScalesPart], nullptr);
  EXPECT_EQ(weight_parts(dense)[kCodesPart].blocks, 40);
  EXPECT_EQ(weight_parts(dense)[kScalesPart].bytes(), 0);
}

/// A layout of each format of checkpoints and type of scales, rows and columns that fill no block.
std::vector<WeightLayout> packed_layouts() {
  std::vector<WeightLayout> layouts;
  for (const WeightCodec* codec : checkpoint_codecs()) {
    if (!codec->has_groups()) layouts.push_back({codec->format, 21, 327});
    for (const int group_size : codec->group_sizes) {
      layouts.push_back({codec->format, 21, 384, group_size, ScaleType::kBF16});
      layouts.push_back({codec->format, 21, 384, group_size, ScaleType::kF16});
    }
  }
  return layouts;
}

class PackedCodec : public ::testing::TestWithParam<WeightLayout> {};

// What goes in comes out, as integers and as (q - zero) * scale.
TEST_P(PackedCodec, KeepsIntegersZeroPointsAndScales) {
  const WeightLayout& layout = GetParam();
  const WeightCodec& codec = codec_of(layout.format);
  const bool signed_8_bits = codec.bits == 8;
  std::mt19937 random(1);
  std::vector<std::vector<std::byte>> memory;
  WeightView view{layout, {}};
  for (const PartLayout& part : codec.parts(layout)) {
    memory.emplace_back(static_cast<std::size_t>(block_count(layout) * part.block_bytes()));
    view.parts[memory.size() - 1] = memory.back().data();
  }
  std::vector<IntegerBlock> blocks(static_cast<std::size_t>(block_count(layout)),
                                   IntegerBlock(layout.cols, group_count(layout)));
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    IntegerBlock& block = blocks[b];
    for (auto& q : block.q) q = static_cast<std::uint8_t>(random() % (1u << codec.bits));
    for (auto& zero : block.zeros) {
      zero = static_cast<std::uint8_t>(signed_8_bits ? 128 : random() % (1u << codec.bits));
    }
    for (auto& scale : block.scales) scale = static_cast<float>(random() % 100 + 1) / 128.0F;
    BlockSpans out;
    for (std::size_t i = 0; i < memory.size(); ++i) {
      const std::size_t size = memory[i].size() / blocks.size();
      out[i] = std::span(memory[i]).subspan(b * size, size);
    }
    codec.pack(layout, block, out);
  }
  const std::vector<float> values = test::weight_values(view);
  const std::int64_t size = layout.cols / group_count(layout);
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    IntegerBlock found(layout.cols, group_count(layout));
    codec.unpack(view, static_cast<std::int64_t>(b), found);
    EXPECT_EQ(found.q, blocks[b].q);
    EXPECT_EQ(found.zeros, blocks[b].zeros);
    EXPECT_EQ(found.scales, blocks[b].scales);
    for (std::int64_t r = 0; r < kRowBlock; ++r) {
      const std::int64_t row = static_cast<std::int64_t>(b) * kRowBlock + r;
      for (std::int64_t c = 0; row < layout.rows && c < layout.cols; ++c) {
        const auto at = static_cast<std::size_t>(c / size * kRowBlock + r);
        const int q = blocks[b].q[static_cast<std::size_t>(r * layout.cols + c)];
        ASSERT_EQ(values[static_cast<std::size_t>(row * layout.cols + c)],
                  static_cast<float>(q - blocks[b].zeros[at]) * blocks[b].scales[at]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, PackedCodec, ::testing::ValuesIn(packed_layouts()),
                         [](const auto& made) {
                           const WeightLayout& layout = made.param;
                           const bool f16 = layout.scale_type == ScaleType::kF16;
                           return std::string(codec_of(layout.format).name) + "_g" +
                                  std::to_string(layout.group_size) + (f16 ? "_f16" : "");
                         });

}  // namespace
}  // namespace nibble
