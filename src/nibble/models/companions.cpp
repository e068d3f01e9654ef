#include "nibble/models/companions.h"

#include <array>
#include <system_error>

#include "nibble/core/error.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr std::array kCompanions = {"generation_config.json",
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
  fs::copy_file(from, to, error);
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

void copy_companions(const fs::path& from, const fs::path& to) {
  for (const char* name : kCompanions) {
    if (fs::exists(from / name)) copy_or_fail(from / name, to / name);
  }
  for (const char* name : kTemplateFolders) copy_templates(from / name, to / name);
}

void write_companions(const Checkpoint& checkpoint, const fs::path& folder) {
  if (!checkpoint.is_gguf()) {
    copy_companions(checkpoint.path(), folder);
  } else if (checkpoint.has_tokenizer()) {
    checkpoint.load_tokenizer().save(folder);
  }
}

}  // namespace nibble
