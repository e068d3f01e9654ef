// Every kernel set's product of two row-major matrices against double, over sizes that leave tiles,
// panels and depths in parts.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/guarded_buffer.h"
#include "nibble/core/buffer.h"
#include "nibble/kernels/select.h"

namespace nibble::test {
namespace {

struct Size {
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t cols;
};
constexpr Size kGemmSizes[] = {{1, 1, 1},    {1, 64, 576}, {3, 5, 7},    {12, 16, 32},
                               {13, 33, 31}, {25, 64, 65}, {6, 513, 16}, {48, 1100, 40},
                               {2, 0, 5},    {7, 600, 17}};

template <typename Element>
GuardedBuffer<Element> random_elements(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<Element> normal;
  GuardedBuffer<Element> values(static_cast<std::size_t>(n));
  for (Element& x : values.span()) x = normal(random);
  return values;
}

void run(const KernelSet& kernels, const GemmTask<float>& task) {
  kernels.gemm_f32(task);
}
void run(const KernelSet& kernels, const GemmTask<double>& task) {
  kernels.gemm_f64(task);
}

class GemmTest : public testing::TestWithParam<const KernelSet*> {};

/// A sum of n products and what was there is off by at most (n + 1) u of the sum of sizes.
template <typename Element>
void check_sums(const KernelSet& kernels, const Size& size, double u) {
  SCOPED_TRACE(testing::Message() << size.rows << " x " << size.depth << " x " << size.cols);
  const std::int64_t out_stride = size.cols + 3;
  GuardedBuffer<Element> a = random_elements<Element>(size.rows * size.depth, 1);
  GuardedBuffer<Element> b = random_elements<Element>(size.depth * size.cols, 2);
  GuardedBuffer<Element> out =
      random_elements<Element>((size.rows - 1) * out_stride + size.cols, 3);
  std::vector<Element> before(out.data(), out.data() + out.size());
  Buffer scratch(kGemmScratchBytes);
  run(kernels, GemmTask<Element>{a.data(), size.depth, b.data(), size.cols, out.data(), out_stride,
                                 size.rows, size.depth, size.cols, scratch.data()});
  for (std::int64_t r = 0; r < size.rows; ++r) {
    for (std::int64_t c = 0; c < out_stride && r * out_stride + c < std::ssize(before); ++c) {
      const auto at = static_cast<std::size_t>(r * out_stride + c);
      long double sum = before[at];
      double sizes = std::fabs(static_cast<double>(before[at]));
      for (std::int64_t k = 0; c < size.cols && k < size.depth; ++k) {
        const long double product =
            static_cast<long double>(a[static_cast<std::size_t>(r * size.depth + k)]) *
            b[static_cast<std::size_t>(k * size.cols + c)];
        sum += product;
        sizes += std::fabs(static_cast<double>(product));
      }
      const double bound = c < size.cols ? static_cast<double>(size.depth + 1) * u * sizes : 0;
      ASSERT_LE(std::fabs(static_cast<double>(out[at] - sum)), bound) << r << ", " << c;
    }
  }
}

TEST_P(GemmTest, IsTheSumOfProductsAndOfWhatWasThere) {
  for (const Size& size : kGemmSizes) {
    check_sums<float>(*GetParam(), size, 0x1p-24);
    check_sums<double>(*GetParam(), size, 0x1p-53);
  }
}

TEST_P(GemmTest, DoesNotDependOnHowItIsCut) {
  const Size size{29, 700, 61};
  GuardedBuffer<float> a = random_elements<float>(size.rows * size.depth, 1);
  GuardedBuffer<float> b = random_elements<float>(size.depth * size.cols, 2);
  GuardedBuffer<float> whole(static_cast<std::size_t>(size.rows * size.cols));
  GuardedBuffer<float> pieces(whole.size());
  Buffer scratch(kGemmScratchBytes);
  const auto part = [&](GuardedBuffer<float>& out, const Size& from, const Size& to) {
    GetParam()->gemm_f32({a.data() + from.rows * size.depth, size.depth, b.data() + from.cols,
                          size.cols, out.data() + from.rows * size.cols + from.cols, size.cols,
                          to.rows - from.rows, size.depth, to.cols - from.cols, scratch.data()});
  };
  part(whole, {0, 0, 0}, size);
  for (const auto& [first, last] : {std::pair(0, 5), std::pair(5, 29)}) {
    part(pieces, {first, 0, 0}, {last, 0, 33});
    part(pieces, {first, 0, 33}, {last, 0, size.cols});
  }
  EXPECT_EQ(std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Sets, GemmTest, testing::ValuesIn(supported_kernels()),
                         [](const auto& set) { return std::string(set.param->name); });

}  // namespace
}  // namespace nibble::test
