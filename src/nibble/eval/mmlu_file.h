// Answers to MMLU in a file, so that a run that was stopped goes on.
#pragma once

#include <chrono>
#include <filesystem>

#include "nibble/eval/mmlu_task.h"

namespace nibble {

class MmluFile {
 public:
  /// An empty path: nothing is kept. Throws Error if no file can be written there.
  explicit MmluFile(std::filesystem::path path);

  /// Puts the answers of the file, if there is one, into `result`, whose subjects and settings are
  /// those of this run. Throws Error, naming the first setting that is another, and for a file that
  /// is no such result.
  void load(MmluResult& result) const;

  /// Writes the file, but only if the last time was some seconds ago.
  void save_sometimes(const MmluResult& result);
  /// Writes the file, whole or not at all.
  void save(const MmluResult& result);

 private:
  std::filesystem::path path_;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

}  // namespace nibble
