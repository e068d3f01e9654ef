// The files that this folder's tests use.
#pragma once

#include <filesystem>

#include "paths.h"

namespace nibble {

inline const std::filesystem::path kFixtures = testing::test_file("models/fixtures");

}  // namespace nibble
