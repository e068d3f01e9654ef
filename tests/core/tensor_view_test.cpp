#include "nibble/core/tensor_view.h"

#include <gtest/gtest.h>

#include <limits>

namespace nibble {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

TEST(DType, NamesGoBothWays) {
  for (int i = 0; i <= static_cast<int>(DType::kQ4_1); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
    EXPECT_GT(dtype_layout(dtype).bytes, 0);
  }
  EXPECT_EQ(dtype_from_name("F8_E8M0"), std::nullopt);
  EXPECT_EQ(dtype_from_name(""), std::nullopt);
}

TEST(CheckedTensorBytes, MultipliesOut) {
  EXPECT_EQ(checked_tensor_bytes(DType::kF32, {2, 3}), 24);
  EXPECT_EQ(checked_tensor_bytes(DType::kF64, {}), 8);
  EXPECT_EQ(checked_tensor_bytes(DType::kBF16, {0, 5}), 0);
  EXPECT_EQ(checked_tensor_bytes(DType::kQ4_0, {3, 64}), 3 * 2 * 18);
  EXPECT_EQ(checked_tensor_bytes(DType::kQ8_0, {32}), 34);
  EXPECT_EQ(checked_tensor_bytes(DType::kU8, {kHuge}), kHuge);
}

TEST(CheckedTensorBytes, RefusesWhatDoesNotFit) {
  EXPECT_EQ(checked_tensor_bytes(DType::kF32, {2, -3}), -1);
  EXPECT_EQ(checked_tensor_bytes(DType::kF32, {-1, -1}), -1);
  EXPECT_EQ(checked_tensor_bytes(DType::kU8, {kHuge, 2}), -1);
  EXPECT_EQ(checked_tensor_bytes(DType::kBF16, {kHuge}), -1);
  EXPECT_EQ(checked_tensor_bytes(DType::kF32, {std::int64_t{1} << 32, std::int64_t{1} << 32}), -1);
  EXPECT_EQ(checked_tensor_bytes(DType::kQ4_0, {64, 33}), -1);
  EXPECT_EQ(checked_tensor_bytes(DType::kQ4_0, {}), -1) << "a scalar is no whole block";
}

TEST(TensorView, RowsAndColumns) {
  const TensorView cube{.dtype = DType::kQ4_1, .shape = {2, 3, 64}};
  EXPECT_EQ(cube.elements(), 384);
  EXPECT_EQ(cube.cols(), 64);
  EXPECT_EQ(cube.rows(), 6);
  EXPECT_EQ(cube.row_bytes(), 40u);
  const TensorView scalar{.dtype = DType::kF32};
  EXPECT_EQ(scalar.elements(), 1);
  EXPECT_EQ(scalar.cols(), 1);
  EXPECT_EQ(scalar.rows(), 1);
  EXPECT_EQ(shape_to_string({2, 3}), "[2, 3]");
  EXPECT_EQ(shape_to_string({}), "[]");
}

}  // namespace
}  // namespace nibble
