// Finds the model that a user names.
#include <cstdlib>
#include <set>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/models/checkpoint.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

/// The environment variable as a path, or `fallback` below the home folder.
fs::path folder_from_environment(const char* variable, const char* fallback) {
  if (const char* value = std::getenv(variable); value != nullptr && *value != '\0') return value;
  const char* home = std::getenv("HOME");
  return fs::path(home == nullptr ? "." : home) / fallback;
}

bool is_model(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return path.extension() == ".gguf";
  return fs::is_directory(path, ignored) && (fs::exists(path / "config.json", ignored) ||
                                             fs::exists(path / "tokenizer.json", ignored) ||
                                             fs::exists(path / "tokenizer.model", ignored) ||
                                             fs::exists(path / "vocab.json", ignored));
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

/// The snapshot that a Hugging Face cache folder "models--org--name" holds: the one refs/main
/// names, else the last written.
fs::path newest_snapshot(const fs::path& repository) {
  std::error_code error;
  if (fs::is_regular_file(repository / "refs" / "main", error)) {
    std::string commit = read_text_file(repository / "refs" / "main", 1000);
    commit.erase(commit.find_last_not_of(" \n") + 1);
    if (is_model(repository / "snapshots" / commit)) return repository / "snapshots" / commit;
  }
  fs::path newest;
  fs::file_time_type time = fs::file_time_type::min();
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (is_model(entry.path()) && entry.last_write_time(error) >= time) {
      newest = entry.path();
      time = entry.last_write_time(error);
    }
  }
  return newest;
}

fs::path find_in_hub_cache(const fs::path& hub, const std::string& name) {
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

}  // namespace

fs::path locate_model(const std::string& model) {
  if (model.empty()) fail("the model's name is empty");
  std::error_code ignored;
  if (fs::exists(model, ignored)) return model;
  const fs::path models = folder_from_environment("NIBBLE_MODELS", ".cache/nibble");
  const fs::path hub = folder_from_environment("HF_HOME", ".cache/huggingface") / "hub";
  // An absolute path, or one with "..", is never a name.
  const bool may_be_name = fs::path(model).is_relative() && model.find("..") == std::string::npos;
  if (may_be_name) {
    if (fs::path found = find_in_model_folder(models, model); !found.empty()) return found;
    if (fs::path found = find_in_hub_cache(hub, model); !found.empty()) return found;
  }
  fail("{}: no such model: neither a folder or .gguf file, nor a name under {} or {}", model,
       models.string(), hub.string());
}

}  // namespace nibble
