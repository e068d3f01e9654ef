// Lines from the user: edited, with a history, where standard input and output are a terminal; read
// as they come where they are not.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace nibble::cli {

class LineEditor {
 public:
  enum class Result { kLine, kInterrupted, kEnd };

  /// `history`: where lines are kept from one run to the next; empty: nowhere.
  explicit LineEditor(std::filesystem::path history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool is_terminal() const;
  /// The next line without its end, added to the history. kInterrupted: Ctrl-C took the line back.
  /// kEnd: Ctrl-D.
  Result read(const char* prompt, std::string& line);

 private:
  Result edit(const char* prompt, std::string& line);
  Result read_piped(std::string& line);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble::cli
