// The files that this folder's tests use.
#pragma once

#include <filesystem>
#include <string>

#include "paths.h"

namespace nibble {

inline const std::filesystem::path kStories =
    testing::data_file("stories260K");  // its head is tied
inline const std::filesystem::path kModels = testing::test_file("models/fixtures");
inline const std::string kFixtures = testing::test_file("quant/fixtures/");

}  // namespace nibble
