#include "line_editor.h"

#include <histedit.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <cstdlib>
#include <cstring>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"

namespace nibble::cli {
namespace fs = std::filesystem;
namespace {

constexpr int kHistoryLines = 1000;
constexpr std::size_t kMaxLine = std::size_t{1} << 30;  // as of a text file

char* current_prompt(EditLine* editor) {
  void* prompt = nullptr;
  el_get(editor, EL_CLIENTDATA, &prompt);
  return static_cast<char*>(prompt);
}

/// Lines hold UTF-8, whatever the locale says.
void set_character_type() {
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineEditor::State {
  EditLine* editor = nullptr;  // null: not a terminal
  ::History* history = nullptr;
  fs::path history_path;
  std::string pending;  // read, but behind the last line given
  bool at_end = false;
};

LineEditor::LineEditor(fs::path history_path) : state_(std::make_unique<State>()) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) return;
  set_character_type();
  state_->history_path = std::move(history_path);
  state_->history = history_init();
  state_->editor = el_init("nibble", stdin, stdout, stderr);
  if (state_->history == nullptr || state_->editor == nullptr) fail("the terminal cannot be used");
  HistEvent event;
  history(state_->history, &event, H_SETSIZE, kHistoryLines);
  history(state_->history, &event, H_SETUNIQUE, 1);
  if (!state_->history_path.empty()) {
    history(state_->history, &event, H_LOAD, state_->history_path.c_str());
  }
  el_set(state_->editor, EL_PROMPT, current_prompt);
  el_set(state_->editor, EL_EDITOR, "emacs");
  el_set(state_->editor, EL_SIGNAL, 1);
  el_set(state_->editor, EL_HIST, history, state_->history);
  el_source(state_->editor, nullptr);  // ~/.editrc
}

LineEditor::~LineEditor() {
  if (state_->history != nullptr && !state_->history_path.empty()) {
    HistEvent event;
    std::error_code ignored;
    fs::create_directories(state_->history_path.parent_path(), ignored);
    const mode_t mask = umask(0077);  // what one says to a model is nobody else's
    history(state_->history, &event, H_SAVE, state_->history_path.c_str());
    umask(mask);
  }
  if (state_->editor != nullptr) el_end(state_->editor);
  if (state_->history != nullptr) history_end(state_->history);
}

bool LineEditor::is_terminal() const {
  return state_->editor != nullptr;
}

LineEditor::Result LineEditor::read(const char* prompt, std::string& line) {
  return is_terminal() ? edit(prompt, line) : read_piped(line);
}

LineEditor::Result LineEditor::edit(const char* prompt, std::string& line) {
  el_set(state_->editor, EL_CLIENTDATA, const_cast<char*>(prompt));
  int count = 0;
  errno = 0;
  const char* text = el_gets(state_->editor, &count);
  if (interrupt_requested()) {
    clear_interrupt();
    el_reset(state_->editor);
    return Result::kInterrupted;
  }
  if (text == nullptr || count <= 0) return errno == EINTR ? Result::kInterrupted : Result::kEnd;
  line.assign(text, static_cast<std::size_t>(count));
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  HistEvent event;
  if (!line.empty()) history(state_->history, &event, H_ENTER, line.c_str());
  return Result::kLine;
}

LineEditor::Result LineEditor::read_piped(std::string& line) {
  for (;;) {
    const std::size_t end = state_->pending.find('\n');
    if (end != std::string::npos || (state_->at_end && !state_->pending.empty())) {
      line = state_->pending.substr(0, end);
      if (line.ends_with('\r')) line.pop_back();
      state_->pending.erase(0, end == std::string::npos ? end : end + 1);
      return Result::kLine;
    }
    if (state_->at_end) return Result::kEnd;
    std::array<char, 1 << 16> buffer{};
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    const int error = errno;
    check_interrupt();
    if (count < 0 && error == EINTR) continue;
    if (count < 0) fail("standard input: cannot be read: {}", std::strerror(error));
    state_->at_end = count == 0;
    state_->pending.append(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (state_->pending.size() > kMaxLine)
      fail("standard input: a line of more than {} bytes", kMaxLine);
  }
}

}  // namespace nibble::cli
