#include "nibble/weights/dequantize.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error_matchers.h"
#include "nibble/core/bfloat16.h"
#include "nibble/formats/gguf.h"
#include "nibble/formats/npy.h"
#include "paths.h"
#include "weights/weight_values.h"

namespace nibble {
namespace {

using test::all_rows;
using ::testing::HasSubstr;

const std::string kFixtures = testing::test_file("formats/fixtures/");

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

class DequantizeFixture : public ::testing::TestWithParam<const char*> {
 protected:
  GgufFile file_{kFixtures + "mixed.gguf"};
  TensorView tensor_ = file_.get("weight." + std::string(GetParam()));
  std::vector<float> expected_ =
      NpyFile(kFixtures + "expected_" + GetParam() + ".npy").floats();  // (3, 64)
};

TEST_P(DequantizeFixture, GivesTheGgufPackagesValuesBitForBit) {
  EXPECT_EQ(bits_of(all_rows(tensor_)), bits_of(expected_));
}

TEST_P(DequantizeFixture, TakesAnyRange) {
  for (std::int64_t first = 0; first <= 3; ++first) {
    for (std::int64_t count = 0; first + count <= 3; ++count) {
      std::vector<float> out(static_cast<std::size_t>(count * 64 + 1), -99.0f);
      dequantize_rows(tensor_, first, count, out.data());
      EXPECT_EQ(out.back(), -99.0f) << "written past the end";
      out.pop_back();
      const auto begin = expected_.begin() + first * 64;
      EXPECT_EQ(bits_of(out), bits_of({begin, begin + count * 64}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, DequantizeFixture,
                         ::testing::Values("bf16", "q8_0", "q4_0", "q4_1"));

/// A tensor over `bytes`, which begins at an odd address: files promise no alignment.
class OddTensor {
 public:
  OddTensor(DType dtype, std::vector<std::int64_t> shape, const void* data) {
    view_ = {.dtype = dtype, .shape = shape};
    view_.bytes = static_cast<std::size_t>(checked_tensor_bytes(dtype, shape));
    bytes_.resize(view_.bytes + 1);
    std::memcpy(bytes_.data() + 1, data, view_.bytes);
    view_.data = bytes_.data() + 1;
  }
  const TensorView& view() const { return view_; }

 private:
  std::vector<std::byte> bytes_;
  TensorView view_;
};

TEST(Dequantize, EveryFloat16AndBfloat16) {
  std::vector<std::uint16_t> patterns(65536);
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
  const OddTensor halves(DType::kF16, {64, 1024}, patterns.data());
  const OddTensor brains(DType::kBF16, {64, 1024}, patterns.data());
  const auto half_floats = all_rows(halves.view());
  const auto brain_floats = all_rows(brains.view());
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    const float half = to_float(Float16{patterns[i]});
    ASSERT_EQ(std::bit_cast<std::uint32_t>(half_floats[i]), std::bit_cast<std::uint32_t>(half));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(brain_floats[i]), patterns[i] * 65536u);
  }
}

TEST(Dequantize, Float32RowsOfOddLengths) {
  for (const std::int64_t cols : {1, 3, 31, 1023, 1025, 2049}) {
    std::vector<float> values(static_cast<std::size_t>(3 * cols));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
    const OddTensor tensor(DType::kF32, {3, cols}, values.data());
    EXPECT_EQ(all_rows(tensor.view()), values);
  }
}

TEST(Dequantize, MatricesOfMoreDimensionsAreRowsToo) {
  const std::vector<float> values{1, 2, 3, 4, 5, 6, 7, 8};
  const OddTensor cube(DType::kF32, {2, 2, 2}, values.data());
  std::vector<float> out(2);
  dequantize_rows(cube.view(), 2, 1, out.data());
  EXPECT_EQ(out, (std::vector<float>{5, 6}));
}

TEST(Dequantize, DoublesAreRounded) {
  const std::vector<double> values{1.0 / 3, -1e-300, 5e40, 2};
  const OddTensor tensor(DType::kF64, {2, 2}, values.data());
  std::vector<float> out(4);
  dequantize_rows(tensor.view(), 0, 2, out.data());
  EXPECT_EQ(out, (std::vector<float>{1.0f / 3, -0.0f, std::numeric_limits<float>::infinity(), 2}));
}

TEST(Dequantize, RefusesOtherTypesByName) {
  const std::vector<std::int64_t> values(4);
  std::vector<float> floats(4);
  for (const DType dtype : {DType::kI8, DType::kU8, DType::kI16, DType::kI32, DType::kI64,
                            DType::kBool, DType::kF8E4M3, DType::kF8E5M2}) {
    const OddTensor tensor(dtype, {2, 2}, values.data());
    const auto names_type = HasSubstr("type " + std::string(dtype_name(dtype)));
    EXPECT_FALSE(can_dequantize(dtype));
    EXPECT_ERROR(dequantize_rows(tensor.view(), 0, 2, floats.data()), names_type);
  }
  EXPECT_TRUE(can_dequantize(DType::kQ4_1));
}

}  // namespace
}  // namespace nibble
