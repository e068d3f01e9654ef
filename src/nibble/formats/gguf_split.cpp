#include "nibble/formats/gguf_split.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <system_error>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/regex.h"
#include "nibble/core/utf8.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kMaxParts = 65535;  // "split.count" has 16 bits

/// "NAME-00002-of-00005.gguf" of a part; `number` from 0.
fs::path part_path(const fs::path& folder, const std::string& name, std::int64_t number,
                   std::int64_t count) {
  return folder / fmt::format("{}-{:05d}-of-{:05d}.gguf", name, number + 1, count);
}

/// NAME out of the file name of part `number` of `count`.
std::string split_name(const fs::path& path, std::int64_t number, std::int64_t count) {
  const std::string file = path.filename().string();
  const std::string end = part_path("", "", number, count).string();
  if (!file.ends_with(end)) {
    fail("{}: is part {} of {} of a split model, whose file name must end in \"{}\"", path.string(),
         number + 1, count, end);
  }
  return file.substr(0, file.size() - end.size());
}

std::vector<fs::path> part_paths(const fs::path& path, std::int64_t number, std::int64_t count) {
  const std::string name = split_name(path, number, count);
  std::vector<fs::path> paths;
  std::vector<std::string> missing;
  for (std::int64_t i = 0; i < count; ++i) {
    paths.push_back(part_path(path.parent_path(), name, i, count));
    if (!file_exists(paths.back())) missing.push_back(paths.back().filename().string());
  }
  if (missing.empty()) return paths;
  constexpr std::size_t kShown = 8;
  const std::size_t more = missing.size() - std::min(missing.size(), kShown);
  missing.resize(missing.size() - more);
  fail("{}: is one of {} parts, of which some are missing: {}{}", path.string(), count,
       fmt::join(missing, ", "), more == 0 ? "" : fmt::format(" and {} more", more));
}

void check_part(const GgufFile& file, std::int64_t number, std::int64_t count) {
  const std::int64_t found = file.get_int("split.no", 0, kMaxParts);
  const std::int64_t of = file.get_int("split.count", 0, kMaxParts);
  if (found != number || of != count) {
    fail("{}: \"split.no\" and \"split.count\" say part {} of {}, expected {} of {}",
         file.file().path().string(), found + 1, of, number + 1, count);
  }
}

}  // namespace

GgufFile open_gguf_metadata(const fs::path& path) {
  GgufFile file(path);
  const std::int64_t count = file.get_int("split.count", 0, kMaxParts, 0);
  if (count <= 1) return file;
  const std::int64_t number = file.get_int("split.no", 0, count - 1);
  if (number == 0) return file;
  const std::string name = split_name(path, number, count);
  GgufFile first(part_path(path.parent_path(), name, 0, count));
  check_part(first, 0, count);
  return first;
}

std::vector<fs::path> gguf_models(const fs::path& folder) {
  // A later part; a vision model's projector, statistics, heads that guess ahead.
  static const Regex no_model(
      "-(?!00001)\\d{5}-of-\\d{5}\\.gguf$|mmproj|imatrix|(mtp|eagle3|dflash|dspark)-",
      "gguf_models");
  std::vector<fs::path> models;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (is_valid_utf8(name) && !no_model.find(name, 0) && is_gguf_file(entry.path()))
      models.push_back(entry.path());
  }
  std::sort(models.begin(), models.end());
  return models;
}

GgufModel::GgufModel(const fs::path& path) {
  GgufFile file(path);
  const std::int64_t count = file.get_int("split.count", 0, kMaxParts, 0);
  if (count <= 1) {
    files_.push_back(std::move(file));
  } else {
    const std::int64_t number = file.get_int("split.no", 0, count - 1);
    for (const fs::path& part : part_paths(path, number, count)) {
      files_.emplace_back(part);
      check_part(files_.back(), static_cast<std::int64_t>(files_.size()) - 1, count);
    }
  }
  for (std::size_t i = 0; i < files_.size(); ++i) {
    for (const TensorEntry& entry : files_[i].entries()) {
      if (!file_of_.emplace(entry.name, i).second) {
        fail("{}: tensor {} stands in another part too", files_[i].file().path().string(),
             quoted_name(entry.name));
      }
    }
  }
  const auto expected = metadata().find_int("split.tensors.count");
  if (count > 1 && expected && *expected != std::ssize(file_of_)) {
    fail("{}: \"split.tensors.count\" is {}, but the {} parts hold {} tensors",
         metadata().file().path().string(), *expected, count, file_of_.size());
  }
}

std::vector<std::string> GgufModel::names() const {
  std::vector<std::string> names;
  for (const GgufFile& file : files_) {
    for (const TensorEntry& entry : file.entries()) names.push_back(entry.name);
  }
  return names;
}

const TensorView* GgufModel::find(std::string_view name) const {
  const auto found = file_of_.find(name);
  return found == file_of_.end() ? nullptr : files_[found->second].find(name);
}

const TensorView& GgufModel::get(std::string_view name) const {
  const TensorView* view = find(name);
  if (view == nullptr) {
    fail("{}: has no tensor {}", metadata().file().path().string(), quoted_name(name));
  }
  return *view;
}

const MappedFile* GgufModel::file_of(std::span<const std::byte> part) const {
  const auto file = std::find_if(files_.begin(), files_.end(),
                                 [&](const GgufFile& each) { return each.file().contains(part); });
  return file == files_.end() ? nullptr : &file->file();
}

}  // namespace nibble
