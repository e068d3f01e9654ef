// Other tools' integer weights, packed here bit by bit as their layouts say, read back and
// repacked: every weight must be (q - zero) * scale, to the last bit.
#include "nibble/weights/repack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "nibble/core/bfloat16.h"
#include "weights/weight_values.h"

namespace nibble {
namespace {

using Codes = IntegerMatrix::Codes;
using Zeros = IntegerMatrix::Zeros;

struct Case {
  const char* name;
  Codes codes;
  Zeros zeros;
  int bits;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t group_size;
  DType scales = DType::kF16;
  bool reordered = false;
  int values_per_word = 0;
};

/// A random matrix, and its tensors as a checkpoint has them.
class Made {
 public:
  explicit Made(const Case& made) : case_(made) {
    groups_ = (made.cols + made.group_size - 1) / made.group_size;
    const int top = (1 << made.bits) - 1;
    for (std::int64_t c = 0; c < made.cols; ++c) {
      matrix_.group_of.push_back(static_cast<std::int32_t>(c / made.group_size));
    }
    if (made.reordered) std::shuffle(matrix_.group_of.begin(), matrix_.group_of.end(), random_);
    for (std::int64_t i = 0; i < made.rows * made.cols; ++i) {
      q_.push_back(static_cast<int>(random_() % static_cast<unsigned>(top + 1)));
    }
    for (std::int64_t i = 0; i < made.rows * groups_; ++i) {
      // Of GPTQ's first format 0 is not used: whole words are added to (docs/checkpoints.md).
      const bool one = made.zeros == Zeros::kGptqV1;
      zero_.push_back(made.zeros == Zeros::kMiddle
                          ? (top + 1) / 2
                          : one + static_cast<int>(random_() % static_cast<unsigned>(top + !one)));
      const float scale = std::ldexp(static_cast<float>(random_() % 1024 + 1024), -16);
      scale_.push_back(made.scales == DType::kBF16 ? round_to_bfloat16(scale) : scale);
    }
    write_tensors();
  }

  const IntegerMatrix& matrix() const { return matrix_; }
  float weight(std::int64_t row, std::int64_t col) const {
    const std::int64_t at = row * groups_ + matrix_.group_of[static_cast<std::size_t>(col)];
    return static_cast<float>(q(row, col) - zero_[static_cast<std::size_t>(at)]) *
           scale_[static_cast<std::size_t>(at)];
  }

 private:
  using Words = std::vector<std::uint32_t>;

  int q(std::int64_t row, std::int64_t col) const {
    return q_[static_cast<std::size_t>(row * case_.cols + col)];
  }
  int zero(std::int64_t row, std::int64_t group) const {
    return zero_[static_cast<std::size_t>(row * groups_ + group)];
  }
  /// Bit by bit: value `i` of a stream whose word w lies at words[first + w * stride].
  void put(Words& words, std::int64_t first, std::int64_t stride, std::int64_t i, int value) const {
    for (int b = 0; b < case_.bits; ++b) {
      const std::int64_t bit =
          case_.values_per_word > 0
              ? i / case_.values_per_word * 32 + i % case_.values_per_word * case_.bits + b
              : i * case_.bits + b;
      words[static_cast<std::size_t>(first + bit / 32 * stride)] |=
          static_cast<std::uint32_t>(value >> b & 1) << (bit % 32);
    }
  }
  void put_awq(Words& words, std::int64_t line, std::int64_t row, int value) const {
    constexpr int kPlaces4[] = {0, 4, 1, 5, 2, 6, 3, 7};  // of row r of eight among the nibbles
    constexpr int kPlaces8[] = {0, 2, 1, 3};              // of row r of four among the bytes
    const std::int64_t in_word = 32 / case_.bits;
    const int place = (case_.bits == 4 ? kPlaces4 : kPlaces8)[row % in_word];
    words[static_cast<std::size_t>(line * case_.rows / in_word + row / in_word)] |=
        static_cast<std::uint32_t>(value) << (case_.bits * place);
  }

  TensorView view(DType dtype, std::vector<std::int64_t> shape, const void* data) const {
    const std::int64_t bytes = checked_tensor_bytes(dtype, shape);
    return {dtype, std::move(shape), static_cast<const std::byte*>(data),
            static_cast<std::size_t>(bytes)};
  }

  void write_tensors() {
    matrix_.codes = case_.codes;
    matrix_.zeros = case_.zeros;
    matrix_.bits = case_.bits;
    matrix_.rows = case_.rows;
    matrix_.cols = case_.cols;
    matrix_.groups = groups_;
    matrix_.values_per_word = case_.values_per_word;
    const bool by_group = case_.codes == Codes::kGptq || case_.codes == Codes::kAwq;
    matrix_.scale_row_step = by_group ? 1 : groups_;
    matrix_.scale_group_step = by_group ? case_.rows : 1;
    write_codes();
    write_zeros();
    for (std::int64_t i = 0; i < case_.rows * groups_; ++i) {
      const std::int64_t row = by_group ? i % case_.rows : i / groups_;
      const std::int64_t group = by_group ? i / case_.rows : i % groups_;
      const float scale = scale_[static_cast<std::size_t>(row * groups_ + group)];
      stored_f32_.push_back(scale);
      stored_f16_.push_back(case_.scales == DType::kF16 ? to_float16(scale).bits
                                                        : to_bfloat16(scale).bits);
    }
    const void* scales = case_.scales == DType::kF32 ? static_cast<const void*>(stored_f32_.data())
                                                     : stored_f16_.data();
    matrix_.scale_tensor = view(case_.scales, {case_.rows, groups_}, scales);
  }

  void write_codes() {
    const std::int64_t rows = case_.rows;
    const std::int64_t cols = case_.cols;
    const int per_word = case_.values_per_word;
    const std::int64_t row_words =
        per_word > 0 ? (cols + per_word - 1) / per_word : (cols * case_.bits + 31) / 32;
    code_words_.assign(static_cast<std::size_t>(rows * row_words + cols * rows), 0);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) {
        if (case_.codes == Codes::kGptq) put(code_words_, r, rows, c, q(r, c));
        if (case_.codes == Codes::kRows) put(code_words_, r * row_words, 1, c, q(r, c));
        if (case_.codes == Codes::kAwq) put_awq(code_words_, c, r, q(r, c));
        code_bytes_.push_back(static_cast<std::int8_t>(q(r, c) - (1 << (case_.bits - 1))));
      }
    }
    matrix_.code_tensor = view(DType::kI32, {rows, row_words}, code_words_.data());
    if (case_.codes == Codes::kAwq) {
      matrix_.code_tensor = view(DType::kI32, {cols, rows * case_.bits / 32}, code_words_.data());
    }
    if (case_.codes == Codes::kBytes) {
      matrix_.code_tensor = view(DType::kI8, {rows, cols}, code_bytes_.data());
    }
  }

  void write_zeros() {
    if (case_.zeros == Zeros::kMiddle) return;
    const std::int64_t rows = case_.rows;
    zero_words_.assign(static_cast<std::size_t>((rows + 32) * groups_), 0);
    const int less = case_.zeros == Zeros::kGptqV1 ? 1 : 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t g = 0; g < groups_; ++g) {
        if (case_.zeros == Zeros::kGptq || case_.zeros == Zeros::kGptqV1) {
          put(zero_words_, g * (rows * case_.bits / 32), 1, r, zero(r, g) - less);
        }
        if (case_.zeros == Zeros::kAwq) put_awq(zero_words_, g, r, zero(r, g));
        if (case_.zeros == Zeros::kRows) put(zero_words_, g, groups_, r, zero(r, g));
        zero_bytes_.push_back(static_cast<std::int8_t>(zero(r, g) - (1 << (case_.bits - 1))));
      }
    }
    const bool bytes = case_.zeros == Zeros::kBytes;
    matrix_.zero_tensor =
        view(bytes ? DType::kI8 : DType::kI32, {rows, groups_},
             bytes ? static_cast<const void*>(zero_bytes_.data()) : zero_words_.data());
    if (case_.zeros == Zeros::kAwq) matrix_.zero_tensor.shape = {groups_, rows * case_.bits / 32};
  }

  const Case case_;
  std::int64_t groups_ = 0;
  std::mt19937 random_{5};
  std::vector<int> q_;     // (rows, cols)
  std::vector<int> zero_;  // (rows, groups)
  std::vector<float> scale_;
  Words code_words_;
  Words zero_words_;
  std::vector<std::int8_t> code_bytes_;
  std::vector<std::int8_t> zero_bytes_;
  std::vector<float> stored_f32_;
  std::vector<std::uint16_t> stored_f16_;
  IntegerMatrix matrix_;
};

/// A repacked matrix whole.
struct Repacked {
  Repacked(const IntegerMatrix& matrix, const RepackPlan& plan) : view{plan.layout, {}} {
    const PartLayouts layouts = codec_of(view.format).parts(view);
    for (std::size_t i = 0; i < layouts.size(); ++i) {
      parts[i].resize(static_cast<std::size_t>(block_count(view) * layouts[i].block_bytes()));
      view.parts[i] = parts[i].data();
    }
    for (std::int64_t b = 0; b < block_count(view); ++b) {
      BlockSpans out;
      for (std::size_t i = 0; i < layouts.size(); ++i) {
        const auto size = static_cast<std::size_t>(layouts[i].block_bytes());
        out[i] = std::span(parts[i]).subspan(static_cast<std::size_t>(b) * size, size);
      }
      repack_block(matrix, plan, b * kRowBlock, out);
    }
  }
  WeightView view;
  std::vector<std::byte> parts[kWeightParts];
};

class Repack : public ::testing::TestWithParam<Case> {};

TEST_P(Repack, KeepsEveryWeight) {
  const Made made(GetParam());
  const IntegerMatrix& matrix = made.matrix();
  const auto plan = plan_repack(matrix);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(weight_bytes(*repacked_layout(matrix)), weight_bytes(plan->layout));
  EXPECT_EQ(repacked_layout(matrix)->format, plan->layout.format);
  const Repacked repacked(matrix, *plan);
  std::vector<float> dense(static_cast<std::size_t>(kRowBlock * matrix.cols));
  const std::vector<float> values = test::weight_values(repacked.view);
  const auto width = static_cast<std::size_t>(repacked.view.cols);
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const std::int64_t in_block = row % kRowBlock;
    if (in_block == 0) {
      dequantize_integers(matrix, row, std::min(kRowBlock, matrix.rows - row), dense.data());
    }
    const auto columns = std::span(values).subspan(static_cast<std::size_t>(row) * width, width);
    // What each input is multiplied with: one column, or two halves.
    std::vector<float> sums(static_cast<std::size_t>(matrix.cols), 0.0F);
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const auto input =
          plan->input_order.empty() ? static_cast<std::int32_t>(c) : plan->input_order[c];
      if (input >= 0) sums[static_cast<std::size_t>(input)] += columns[c];
    }
    for (std::int64_t c = 0; c < matrix.cols; ++c) {
      ASSERT_EQ(sums[static_cast<std::size_t>(c)], made.weight(row, c)) << row << ", " << c;
      ASSERT_EQ(dense[static_cast<std::size_t>(in_block * matrix.cols + c)], made.weight(row, c));
    }
  }
}

// An embedding is read by its columns.
TEST(DequantizeColumn, KeepsEveryWeight) {
  for (const Case& one :
       {Case{"v1_act", Codes::kGptq, Zeros::kGptqV1, 4, 48, 128, 64, DType::kF16, true},
        Case{"of_3", Codes::kGptq, Zeros::kGptq, 3, 64, 96, 32, DType::kBF16},
        Case{"of_8", Codes::kGptq, Zeros::kGptq, 8, 20, 136, 64, DType::kF32}}) {
    SCOPED_TRACE(one.name);
    const Made made(one);
    std::vector<float> column(static_cast<std::size_t>(made.matrix().rows));
    for (std::int64_t c = 0; c < made.matrix().cols; ++c) {
      dequantize_column(made.matrix(), c, column);
      for (std::int64_t r = 0; r < made.matrix().rows; ++r) {
        ASSERT_EQ(column[static_cast<std::size_t>(r)], made.weight(r, c)) << r << ", " << c;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, Repack,
    ::testing::Values(
        Case{"awq", Codes::kAwq, Zeros::kAwq, 4, 40, 256, 128},
        Case{"awq_row", Codes::kAwq, Zeros::kAwq, 4, 24, 96, 96},
        Case{"awq_g16", Codes::kAwq, Zeros::kAwq, 4, 16, 64, 16},
        Case{"awq8", Codes::kAwq, Zeros::kAwq, 8, 20, 128, 32},
        Case{"awq8_row", Codes::kAwq, Zeros::kAwq, 8, 36, 96, 96},
        Case{"gptq4", Codes::kGptq, Zeros::kGptq, 4, 40, 128, 64},
        Case{"gptq4_v1_act", Codes::kGptq, Zeros::kGptqV1, 4, 48, 128, 64, DType::kF16, true},
        Case{"gptq4_last_group", Codes::kGptq, Zeros::kGptq, 4, 32, 136, 64, DType::kBF16},
        Case{"gptq3", Codes::kGptq, Zeros::kGptq, 3, 64, 96, 32},
        Case{"gptq3_v1_act", Codes::kGptq, Zeros::kGptqV1, 3, 32, 128, 32, DType::kF16, true},
        Case{"gptq2", Codes::kGptq, Zeros::kGptqV1, 2, 32, 64, 64},
        Case{"gptq8", Codes::kGptq, Zeros::kGptq, 8, 20, 64, 32},
        Case{"gptq8_v1_act", Codes::kGptq, Zeros::kGptqV1, 8, 36, 128, 32, DType::kF16, true},
        Case{"rows4", Codes::kRows, Zeros::kMiddle, 4, 33, 96, 32, DType::kBF16},
        Case{"rows4_asymmetric", Codes::kRows, Zeros::kRows, 4, 33, 100, 100},
        Case{"rows4_bytes", Codes::kRows, Zeros::kBytes, 4, 7, 64, 64, DType::kF32},
        Case{"rows3", Codes::kRows, Zeros::kRows, 3, 19, 96, 32},
        Case{"rows3_whole_values", Codes::kRows, Zeros::kMiddle, 3, 19, 96, 32, DType::kF16, false,
             10},
        Case{"rows5", Codes::kRows, Zeros::kRows, 5, 19, 96, 48},
        Case{"rows8_row", Codes::kRows, Zeros::kMiddle, 8, 17, 50, 50, DType::kF32},
        Case{"bytes8_row", Codes::kBytes, Zeros::kMiddle, 8, 17, 50, 50},
        Case{"bytes8_asymmetric", Codes::kBytes, Zeros::kBytes, 8, 17, 70, 35},
        Case{"bytes8_g64", Codes::kBytes, Zeros::kMiddle, 8, 16, 128, 64}),
    [](const auto& made) { return std::string(made.param.name); });

TEST(RepackPlan, TakesTheFewestColumnsAndTheLargestGroups) {
  const auto plan = [](std::int64_t cols, std::int64_t group_size, int bits = 4) {
    const Made made({"", Codes::kRows, Zeros::kBytes, bits, 16, cols, group_size});
    return plan_repack(made.matrix()).value();
  };
  EXPECT_EQ(plan(512, 256).layout.group_size, 128);
  EXPECT_TRUE(plan(512, 256).input_order.empty());
  EXPECT_EQ(plan(192, 192).layout.group_size, 64);
  EXPECT_EQ(plan(64, 16).layout.group_size, 32);
  EXPECT_EQ(plan(64, 16).layout.cols, 128);
  EXPECT_EQ(plan(172, 128).layout.cols, 192);
  EXPECT_EQ(plan(172, 128).layout.group_size, 64);
  EXPECT_EQ(plan(64, 32, 8).layout.cols, 128) << "two halves";
  EXPECT_EQ(plan(64, 32, 2).layout.format, WeightFormat::kW3);
}

TEST(RepackPlan, ScalesThatNoFormatHolds) {
  Made made({"", Codes::kRows, Zeros::kMiddle, 4, 16, 64, 64, DType::kF32});
  std::vector<float> scales(16, 0.1F);  // 24 bits
  IntegerMatrix matrix = made.matrix();
  matrix.scale_tensor.data = reinterpret_cast<const std::byte*>(scales.data());
  EXPECT_FALSE(plan_repack(matrix).has_value());
  EXPECT_FALSE(repacked_layout(matrix).has_value());
  scales.assign(16, 0x1p100F);  // in bfloat16's range, not in float16's
  EXPECT_TRUE(plan_repack(matrix).has_value());
  EXPECT_EQ(plan_repack(matrix)->layout.scale_type, ScaleType::kBF16);
  EXPECT_TRUE(repacked_layout(matrix).has_value());
}

}  // namespace
}  // namespace nibble
