#include "sheet_recipe.h"

#include <fmt/core.h>

#include <algorithm>
#include <system_error>

#include "nibble/core/sha256.h"
#include "nibble/models/checkpoint.h"

namespace nibble::cli {
namespace fs = std::filesystem;
namespace {

/// What tells the states of a model's files apart: names, sizes and times of writing.
std::string state_of(const fs::path& model) {
  std::vector<std::string> files;
  const auto add = [&](const fs::path& file) {
    std::error_code ignored;
    files.push_back(fmt::format("{} {} {}", file.filename().string(), fs::file_size(file, ignored),
                                fs::last_write_time(file, ignored).time_since_epoch().count()));
  };
  if (!fs::is_directory(model)) {
    add(model);
  } else {
    for (const auto& entry : fs::directory_iterator(model)) {
      if (entry.is_regular_file()) add(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::string state = fs::canonical(model).string();
  for (const std::string& file : files) state += "\n" + file;
  return state;
}

/// All that the sheets' commands can make.
std::vector<Recipe> all_recipes() {
  std::vector<Recipe> recipes;
  for (const char* algorithm : {"pergrp", "awq", "awqplus"}) {
    for (const int bits : {4, 3}) {
      for (const int group_size : {32, 64, 128}) recipes.push_back({algorithm, bits, group_size});
    }
  }
  recipes.push_back({"smoothquant", 8, 0});
  return recipes;
}

}  // namespace

std::string Recipe::name() const {
  std::string text = fmt::format("{}-w{}", algorithm, bits);
  if (group_size > 0) text += fmt::format("-g{}", group_size);
  return text;
}

std::string Recipe::title() const {
  std::string text = algorithm;
  if (bits == 3) text += fmt::format(" w{}", bits);
  if (algorithm == "pergrp" || (group_size > 0 && group_size != 128))
    text += fmt::format(" g{}", group_size);
  return text;
}

std::vector<std::string> Recipe::quantize_flags() const {
  if (group_size == 0) return {"--algorithm", algorithm, "--precision", "w8a8"};
  return {"--algorithm",        algorithm,      "--w-bit",
          std::to_string(bits), "--group-size", std::to_string(group_size)};
}

fs::path checkpoint_folder(const fs::path& model) {
  const fs::path path = fs::canonical(model);
  const fs::path name = fs::is_directory(path) ? path.filename() : path.stem();
  return model_folder() / "cache" /
         fmt::format("{}-{}", name.string(), sha256_hex(state_of(path)).substr(0, 8));
}

std::vector<MadeCheckpoint> made_checkpoints(const fs::path& model) {
  std::vector<MadeCheckpoint> found;
  const fs::path folder = checkpoint_folder(model);
  for (const Recipe& recipe : all_recipes()) {
    if (fs::exists(folder / recipe.name() / "config.json")) {
      found.push_back({recipe, folder / recipe.name()});
    }
  }
  return found;
}

}  // namespace nibble::cli
