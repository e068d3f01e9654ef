// Nothing that is compiled with an instruction set's flags may be shared with code that runs
// without it: of two copies of an inline function or template the linker keeps any one. So the
// objects of these sets must define no weak symbols; nm prints those as W, V and (unique ones) u.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>

#include "paths.h"

namespace nibble {
namespace {

// The lines that `nm` prints for the symbols which the objects of `set` define.
std::string defined_symbols(const std::string& set) {
  const std::filesystem::path objects =
      std::filesystem::path(testing::built_command()).parent_path() /
      ("src/CMakeFiles/nibble_kernels_" + set + ".dir") / "nibble/kernels" / set;
  const std::string command = "nm --defined-only '" + objects.string() + "'/*.o 2>&1";
  struct Close {
    void operator()(std::FILE* pipe) const { pclose(pipe); }
  };
  const std::unique_ptr<std::FILE, Close> pipe(popen(command.c_str(), "r"));
  std::string text;
  std::array<char, 4096> part;
  while (pipe != nullptr && std::fgets(part.data(), part.size(), pipe.get()) != nullptr) {
    text += part.data();
  }
  return text;
}

void expect_no_weak_symbols(const std::string& set, const std::string& table) {
  const std::string symbols = defined_symbols(set);
  ASSERT_THAT(symbols, ::testing::HasSubstr(table)) << "not the objects of " << set;
  ASSERT_THAT(symbols, ::testing::HasSubstr("matmul_bf16_w4"));
  std::istringstream lines(symbols);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);  // "0000000000000040 T name"
    std::string address;
    std::string type;
    words >> address >> type;
    // The unwinder's pointer that sanitized objects refer to; it holds no code.
    if (line.find("DW.ref.__gxx_personality_v0") != std::string::npos) continue;
    EXPECT_TRUE(type != "W" && type != "V" && type != "u") << line;
  }
}

TEST(SymbolsTest, Avx2ObjectsShareNothing) {
  expect_no_weak_symbols("avx2", "kAvx2Kernels");
}

TEST(SymbolsTest, Avx512ObjectsShareNothing) {
  expect_no_weak_symbols("avx512", "kAvx512Kernels");
}

}  // namespace
}  // namespace nibble
