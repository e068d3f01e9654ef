// Finds the model that a user names.
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "nibble/core/ascii.h"
#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/formats/gguf_split.h"
#include "nibble/models/checkpoint.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

/// The environment variable; empty: not set.
std::string environment(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  return value == nullptr ? "" : value;
}

fs::path home_folder() {
  const std::string home = environment("HOME");
  return home.empty() ? "." : home;
}

/// "~" at the front and "$NAME" or "${NAME}" as Python's expanduser and expandvars replace them; a
/// variable that is not set stays as it is written.
fs::path expand(std::string text) {
  if (text == "~" || text.starts_with("~/")) text.replace(0, 1, home_folder().string());
  for (std::size_t at = 0; (at = text.find('$', at)) != std::string::npos;) {
    const bool braces = text.compare(at + 1, 1, "{") == 0;
    const std::size_t begin = at + (braces ? 2 : 1);
    std::size_t end = begin;
    while (end < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_')) {
      ++end;
    }
    const std::string value = environment(text.substr(begin, end - begin));
    const bool complete = !braces || text.compare(end, 1, "}") == 0;
    if (value.empty() || !complete) {
      at = end;
      continue;
    }
    text.replace(at, end + (braces ? 1 : 0) - at, value);
    at += value.size();
  }
  return text;
}

/// Where huggingface_hub keeps what it downloads (huggingface_hub/constants.py).
fs::path hub_cache() {
  for (const char* variable : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string folder = environment(variable); !folder.empty()) return expand(folder);
  }
  if (const std::string home = environment("HF_HOME"); !home.empty()) return expand(home) / "hub";
  const std::string caches = environment("XDG_CACHE_HOME");
  return (caches.empty() ? home_folder() / ".cache" : expand(caches)) / "huggingface/hub";
}

/// Whether a name is there, be it a link to nothing: that is said where the file is opened.
bool is_named(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

bool has_any(const fs::path& folder, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(),
                     [&](const char* name) { return is_named(folder / name); });
}

bool is_folder_of_files(const fs::path& folder) {
  return has_any(folder, {"config.json", "tokenizer.json", "tokenizer.model", "vocab.json"});
}

bool is_model(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    return is_gguf_file(path) || (is_named(path) && path.extension() == ".gguf");
  }
  return is_folder_of_files(path) || !gguf_models(path).empty();
}

/// The GGUF models of a repository: in its folder and in those in it, one of which often holds the
/// parts of each quantization.
std::vector<fs::path> models_of_repository(const fs::path& folder) {
  std::vector<fs::path> models = gguf_models(folder);
  std::vector<fs::path> below;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) below.push_back(entry.path());
  }
  std::sort(below.begin(), below.end());
  for (const fs::path& one : below) {
    for (fs::path& model : gguf_models(one)) models.push_back(std::move(model));
  }
  return models;
}

[[noreturn]] void refuse_choice(const fs::path& folder, std::string_view what,
                                const std::vector<fs::path>& models) {
  std::string names;
  for (const fs::path& model : models) {
    names += (names.empty() ? "" : ", ") + model.lexically_relative(folder).string();
  }
  fail("{}: {}: {}", folder.string(), what, names);
}

/// The model that a path means: the GGUF file of a folder that has weights in no other form.
fs::path model_at(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored) ||
      has_any(path, {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                     "pytorch_model.bin.index.json"})) {
    return path;
  }
  const bool has_files = is_folder_of_files(path);
  const std::vector<fs::path> models = has_files ? gguf_models(path) : models_of_repository(path);
  if (models.size() == 1) return models.front();
  if (models.size() > 1 && !has_files) {
    refuse_choice(path,
                  fmt::format("holds {} GGUF models, expected the name of one behind it, or its "
                              "quantization as in NAME:Q4_K_M",
                              models.size()),
                  models);
  }
  return path;
}

/// Whether a file's name, or its folder's, has the quantization `tag` as a word: before "." or "-",
/// as llama.cpp looks for it, and behind no letter or digit ("F16" is not in "BF16").
bool has_tag(const std::string& name, const std::string& tag) {
  for (std::size_t at = name.find(tag); at != std::string::npos; at = name.find(tag, at + 1)) {
    const char behind = at + tag.size() < name.size() ? name[at + tag.size()] : ' ';
    const bool begins = at == 0 || std::isalnum(static_cast<unsigned char>(name[at - 1])) == 0;
    if (begins && (behind == '.' || behind == '-' || behind == '/')) return true;
  }
  return false;
}

/// The one of a repository's GGUF models whose name has the quantization `tag`.
fs::path model_of_tag(const fs::path& repository, const std::string& tag) {
  const std::vector<fs::path> models = models_of_repository(repository);
  if (models.empty()) {
    fail("{}: holds no GGUF model that \":{}\" could choose", repository.string(), tag);
  }
  std::vector<fs::path> found;
  for (const fs::path& model : models) {
    if (has_tag(lower_case(model.lexically_relative(repository).string()), lower_case(tag))) {
      found.push_back(model);
    }
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) refuse_choice(repository, fmt::format("no GGUF model is {}", tag), models);
  refuse_choice(repository,
                fmt::format("{} GGUF models are {}, expected the name of one", found.size(), tag),
                found);
}

/// "org/name" or "name" under $NIBBLE_MODELS; "name" also under any "org".
fs::path find_in_model_folder(const fs::path& root, const std::string& name) {
  for (const fs::path& candidate :
       {root / name, root / (name + ".gguf"), root / fs::path(name).filename()}) {
    if (is_model(candidate)) return candidate;
  }
  std::error_code error;
  std::set<fs::path> found;  // sorted, so that the choice does not depend on the file system
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (entry.is_directory(error) && is_model(entry.path() / name))
      found.insert(entry.path() / name);
  }
  return found.empty() ? fs::path() : *found.begin();
}

bool is_snapshot(const fs::path& path) {
  return is_folder_of_files(path) || !models_of_repository(path).empty();
}

/// The snapshot that a Hugging Face cache folder "models--org--name" holds: the one refs/main
/// names, else the last written.
fs::path newest_snapshot(const fs::path& repository) {
  std::error_code error;
  if (fs::is_regular_file(repository / "refs" / "main", error)) {
    std::string commit = read_text_file(repository / "refs" / "main", 1000);
    commit.erase(commit.find_last_not_of(" \r\n") + 1);
    if (is_snapshot(repository / "snapshots" / commit)) return repository / "snapshots" / commit;
  }
  fs::path newest;
  fs::file_time_type time = fs::file_time_type::min();
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (is_snapshot(entry.path()) && entry.last_write_time(error) >= time) {
      newest = entry.path();
      time = entry.last_write_time(error);
    }
  }
  return newest;
}

/// "org/name" or "name"; of "org/name/file" the file in the snapshot.
fs::path find_in_hub_cache(const fs::path& hub, const std::string& name) {
  const std::size_t first = std::min(name.find('/'), name.size());
  const std::size_t second = std::min(name.find('/', first + 1), name.size());
  if (second < name.size()) {
    const fs::path repository = find_in_hub_cache(hub, name.substr(0, second));
    const fs::path file = repository / name.substr(second + 1);
    return !repository.empty() && is_model(file) ? file : fs::path();
  }
  std::string folder = name;
  for (std::size_t slash; (slash = folder.find('/')) != std::string::npos;) {
    folder.replace(slash, 1, "--");
  }
  const bool has_organization = name.find('/') != std::string::npos;
  std::error_code error;
  std::set<fs::path> repositories;
  for (const auto& entry : fs::directory_iterator(hub, error)) {
    const std::string candidate = entry.path().filename().string();
    if (!candidate.starts_with("models--")) continue;
    if (has_organization ? candidate == "models--" + folder : candidate.ends_with("--" + folder)) {
      repositories.insert(entry.path());
    }
  }
  for (const fs::path& repository : repositories) {
    const fs::path snapshot = newest_snapshot(repository);
    if (!snapshot.empty()) return snapshot;
  }
  return {};
}

/// The file or folder that a path or name means; empty: there is none.
fs::path find_model(const std::string& model) {
  if (model.empty() || file_exists(model)) return model;
  // An absolute path, or one with "..", is never a name.
  if (fs::path(model).is_absolute() || model.find("..") != std::string::npos) return {};
  fs::path found = find_in_model_folder(model_folder(), model);
  return found.empty() ? find_in_hub_cache(hub_cache(), model) : found;
}

}  // namespace

fs::path model_folder() {
  const std::string folder = environment("NIBBLE_MODELS");
  return folder.empty() ? home_folder() / ".cache/nibble" : fs::path(folder);
}

fs::path locate_model(const std::string& model) {
  if (model.empty()) fail("the model's name is empty");
  if (const fs::path found = find_model(model); !found.empty()) return model_at(found);
  const std::size_t colon = model.rfind(':');
  if (colon != std::string::npos && model.find('/', colon) == std::string::npos) {
    const fs::path repository = find_model(model.substr(0, colon));
    if (!repository.empty()) return model_of_tag(repository, model.substr(colon + 1));
  }
  fail("{}: no such model: neither a folder or GGUF file, nor a name under {} or {}", model,
       model_folder().string(), hub_cache().string());
}

}  // namespace nibble
