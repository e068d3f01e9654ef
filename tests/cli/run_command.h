// Runs the built command as a user would, in a process of its own, and says how that ended.
#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nibble::testing {

struct Invocation {
  std::vector<std::string> args;
  std::string input;                       // what stands on standard input
  std::map<std::string, std::string> env;  // over the test's own environment
  std::filesystem::path folder;            // the current folder; empty: the test's
  std::filesystem::path output;            // standard output goes here; empty: into Outcome::out
  std::uint64_t memory = 0;                // limit of the address space in bytes; 0: none
  std::function<bool()> interrupt_when;    // a signal once this is true; empty: none
  int interrupt_signal = SIGINT;
  bool keep_input_open = false;  // standard input is a pipe that nobody writes to
};

struct Outcome {
  int status = -1;         // exit status; -1 if a signal ended the process
  int signal = 0;          // that signal (SIGKILL also where it ran for too long)
  bool timed_out = false;  // ran for longer than 30 seconds and was killed
  double seconds = 0;      // from the signal on if there was one, else from the start
  std::string out;
  std::string err;

  nlohmann::json json() const;  // of all of `out`, which must be one document
};

Outcome run_command(const Invocation& run);
/// With these arguments and nothing else out of the ordinary.
Outcome nibble(const std::vector<std::string>& args);

/// The lines of `text`, each of which must end with a newline.
std::vector<std::string> lines(const std::string& text);

/// Copies data/stories260K, so that no test ever writes into the repository. Gives the folder.
std::filesystem::path copy_stories(const std::filesystem::path& to);
std::filesystem::path stories_text();
std::filesystem::path fixture(const std::string& name);

/// What stands in a folder, sorted, hidden files too.
std::vector<std::string> listing(const std::filesystem::path& folder);

}  // namespace nibble::testing
