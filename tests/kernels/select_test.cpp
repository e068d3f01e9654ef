#include "nibble/kernels/select.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "nibble/core/error.h"

namespace nibble {
namespace {

// Sets NIBBLE_ISA for one test and restores it.
class SelectTest : public testing::Test {
 protected:
  SelectTest() {
    const char* value = std::getenv("NIBBLE_ISA");
    if (value != nullptr) saved_ = value;
    unsetenv("NIBBLE_ISA");
  }
  ~SelectTest() override {
    if (!saved_.empty()) setenv("NIBBLE_ISA", saved_.c_str(), 1);
  }

 private:
  std::string saved_;
};

TEST_F(SelectTest, ScalarIsAlwaysThereAndLast) {
  ASSERT_FALSE(supported_kernels().empty());
  EXPECT_EQ(supported_kernels().back(), &kScalarKernels);
}

TEST_F(SelectTest, TakesTheBestSetByDefault) {
  EXPECT_EQ(&select_kernels(), supported_kernels().front());
  setenv("NIBBLE_ISA", "", 1);
  EXPECT_EQ(&select_kernels(), supported_kernels().front());
}

TEST_F(SelectTest, TakesTheNamedSet) {
  for (const KernelSet* set : supported_kernels()) {
    setenv("NIBBLE_ISA", set->name, 1);
    EXPECT_EQ(&select_kernels(), set);
  }
}

TEST_F(SelectTest, RefusesAnUnknownName) {
  setenv("NIBBLE_ISA", "sse9", 1);
  try {
    select_kernels();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("NIBBLE_ISA"));
    EXPECT_THAT(error.what(), testing::HasSubstr("scalar"));
    EXPECT_THAT(error.what(), testing::HasSubstr("'sse9'"));
  }
}

TEST_F(SelectTest, NamesTheCpu) {
  EXPECT_FALSE(cpu_info().model.empty());
  if (supported_kernels().size() > 1) {
    EXPECT_THAT(cpu_info().features, testing::HasSubstr("avx2"));
  }
}

// A table without holes, but for the products that no set has.
TEST_F(SelectTest, TablesAreComplete) {
  for (const KernelSet* set : supported_kernels()) {
    SCOPED_TRACE(set->name);
    for (int format = 0; format < kWeightFormats; ++format) {
      EXPECT_NE(set->matmul_f32[format], nullptr);
      const bool wide = format == static_cast<int>(WeightFormat::kF32) ||
                        format == static_cast<int>(WeightFormat::kF16);
      EXPECT_EQ(set->matmul_bf16[format] == nullptr, wide);
      const bool dense = wide || format == static_cast<int>(WeightFormat::kBF16);
      EXPECT_EQ(set->matmul_int8[format] == nullptr, dense);
    }
    EXPECT_GT(set->panel_rows, 0);
    EXPECT_EQ(set->panel_rows % 16, 0);
    EXPECT_GT(set->int8_panel_rows, 0);
    EXPECT_EQ(set->int8_panel_rows % 16, 0);
  }
}

}  // namespace
}  // namespace nibble
