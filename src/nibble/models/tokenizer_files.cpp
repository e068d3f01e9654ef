#include "nibble/models/tokenizer_files.h"

#include <array>
#include <system_error>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr std::array kFiles = {"generation_config.json",
                               "tokenizer.json",
                               "tokenizer.model",
                               "tokenizer_config.json",
                               "vocab.json",
                               "merges.txt",
                               "added_tokens.json",
                               "special_tokens_map.json",
                               "chat_template.jinja",
                               "chat_template.json"};

constexpr std::array kTemplateFolders = {"chat_templates", "additional_chat_templates"};

void copy_or_fail(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error) fail("{}: cannot be copied: {}", from.string(), error.message());
}

void copy_templates(const fs::path& from, const fs::path& to) {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(from, none)) {
    if (entry.path().extension() != ".jinja") continue;
    fs::create_directories(to);
    copy_or_fail(entry.path(), to / entry.path().filename());
  }
}

}  // namespace

void copy_tokenizer_files(const fs::path& from, const fs::path& to) {
  for (const char* name : kFiles) {
    if (file_exists(from / name)) copy_or_fail(from / name, to / name);
  }
  for (const char* name : kTemplateFolders) copy_templates(from / name, to / name);
}

void write_tokenizer_files(const Checkpoint& checkpoint, const fs::path& folder) {
  if (!checkpoint.is_gguf()) {
    copy_tokenizer_files(checkpoint.path(), folder);
  } else if (checkpoint.has_tokenizer()) {
    checkpoint.load_tokenizer().save(folder);
  }
}

}  // namespace nibble
