// The fixtures of transforms (fixtures/transforms/make_fixtures.py), and ids in files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/formats/npy.h"
#include "paths.h"

namespace nibble::testing {

using Ids = std::vector<std::vector<std::int32_t>>;

inline NpyFile transform_fixture(const std::string& name) {
  return NpyFile(test_file("quant/fixtures/transforms/" + name));
}

/// Rows of token ids, (blocks, tokens).
inline Ids blocks_of(const NpyFile& file) {
  const std::vector<std::int32_t> all = file.ints();
  const auto length = static_cast<std::ptrdiff_t>(file.shape()[1]);
  Ids blocks;
  for (auto at = all.begin(); at != all.end(); at += length) blocks.emplace_back(at, at + length);
  return blocks;
}

}  // namespace nibble::testing
