#include "nibble/core/nearest_name.h"

#include <gtest/gtest.h>

#include <vector>

namespace nibble {
namespace {

const std::vector<std::string> kNames = {"run",      "chat",       "quantize",
                                         "tokenize", "detokenize", "eval"};

TEST(NearestName, IsTheOneWithFewestSlips) {
  EXPECT_EQ(nearest_name("quantise", kNames), "quantize");   // replaced
  EXPECT_EQ(nearest_name("quantze", kNames), "quantize");    // left out
  EXPECT_EQ(nearest_name("qquantize", kNames), "quantize");  // added
  EXPECT_EQ(nearest_name("qauntize", kNames), "quantize");   // two swapped: one slip
  EXPECT_EQ(nearest_name("tokenise", kNames), "tokenize");
  EXPECT_EQ(nearest_name("detokenise", kNames), "detokenize");
  EXPECT_EQ(nearest_name("rnu", kNames), "run");
  EXPECT_EQ(nearest_name("eval", kNames), "eval");
}

TEST(NearestName, IsNoneWhereAllAreFar) {
  EXPECT_EQ(nearest_name("", kNames), std::nullopt);
  EXPECT_EQ(nearest_name("serve", kNames), std::nullopt);
  EXPECT_EQ(nearest_name("r", kNames), std::nullopt);  // two of three characters are missing
  EXPECT_EQ(nearest_name("quan", kNames), std::nullopt);
  EXPECT_EQ(nearest_name(std::string(1'000'000, 'r'), kNames), std::nullopt);
  EXPECT_EQ(nearest_name("run", {}), std::nullopt);
}

TEST(NearestName, OfSeveralIsTheFirst) {
  EXPECT_EQ(nearest_name("bits", std::vector<std::string>{"bats", "bots"}), "bats");
  EXPECT_EQ(nearest_name("bits", std::vector<std::string>{"bats", "bits"}), "bits");
}

}  // namespace
}  // namespace nibble
