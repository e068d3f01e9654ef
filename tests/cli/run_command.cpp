#include "cli/run_command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "core/temporary_folder.h"
#include "paths.h"

namespace nibble::testing {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kTimeout{30};

void redirect(const fs::path& path, int flags, int to) {
  const int fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(99);
}

/// In the child: never returns. `input` is a file, or an open pipe's end.
[[noreturn]] void become_command(const Invocation& run, const fs::path& files, int input) {
  if (input >= 0) {
    ::dup2(input, STDIN_FILENO);
  } else {
    redirect(files / "in", O_RDONLY, STDIN_FILENO);
  }
  redirect(run.output.empty() ? files / "out" : run.output, O_WRONLY | O_CREAT, STDOUT_FILENO);
  redirect(files / "err", O_WRONLY | O_CREAT, STDERR_FILENO);
  if (!run.folder.empty() && ::chdir(run.folder.c_str()) != 0) ::_exit(99);
  for (const auto& [name, value] : run.env) ::setenv(name.c_str(), value.c_str(), 1);
  if (run.memory > 0) {
    const rlimit limit{run.memory, run.memory};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  const std::string program = built_command();
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& arg : run.args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  ::_exit(99);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Waits for the end, sending the signal or SIGKILL when it is time.
void wait_for_end(const Invocation& run, pid_t pid, Outcome& outcome) {
  Clock::time_point start = Clock::now();
  bool interrupted = false;
  int state = 0;
  while (::waitpid(pid, &state, WNOHANG) == 0) {
    if (run.interrupt_when && !interrupted && run.interrupt_when()) {
      interrupted = true;
      start = Clock::now();
      ::kill(pid, run.interrupt_signal);
    }
    if (!outcome.timed_out && Clock::now() - start > kTimeout) {
      outcome.timed_out = true;
      ::kill(pid, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  outcome.seconds = seconds_since(start);
  if (WIFSIGNALED(state)) outcome.signal = WTERMSIG(state);
  if (WIFEXITED(state)) outcome.status = WEXITSTATUS(state);
  if (run.interrupt_when && !interrupted) {
    throw std::runtime_error("the command ended before it could be interrupted: " + outcome.err);
  }
}

}  // namespace

nlohmann::json Outcome::json() const {
  return nlohmann::json::parse(out);
}

Outcome run_command(const Invocation& run) {
  const TemporaryFolder files;
  write_file(files / "in", run.input);
  int pipe_ends[2] = {-1, -1};
  if (run.keep_input_open && ::pipe2(pipe_ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const pid_t pid = ::fork();
  if (pid == 0) become_command(run, files.path(), pipe_ends[0]);
  Outcome outcome;
  wait_for_end(run, pid, outcome);
  for (const int end : pipe_ends) {
    if (end >= 0) ::close(end);
  }
  outcome.out = read_file(files / "out");
  outcome.err = read_file(files / "err");
  return outcome;
}

Outcome nibble(const std::vector<std::string>& args) {
  Invocation run;
  run.args = args;
  return run_command(run);
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    EXPECT_NE(end, std::string::npos) << "no newline at the end of: " << text;
    if (end == std::string::npos) break;
    found.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return found;
}

fs::path copy_stories(const fs::path& to) {
  fs::copy(data_file("stories260K"), to, fs::copy_options::recursive);
  return to;
}

fs::path stories_text() {
  return data_file("stories.txt");
}

fs::path fixture(const std::string& name) {
  return test_file("cli/fixtures/" + name);
}

std::vector<std::string> listing(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace nibble::testing
