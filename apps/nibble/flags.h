// The command line: sub-commands and their flags. CLI11 reads it, behind these classes: its headers
// take the compiler several seconds in each file that includes them.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace nibble::cli {

/// Flags that are wrong, or wrong together; the message is one line.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A flag or an argument of a sub-command; a handle, to be copied.
class Flag {
 public:
  explicit Flag(CLI::Option& option) : option_(&option) {}

  Flag required() const;
  /// Help shows the value that the variable has now.
  Flag show_default() const;
  /// Help shows the values, and others are refused.
  Flag one_of(std::initializer_list<const char*> values) const;
  Flag one_of(std::initializer_list<int> values) const;
  Flag one_of(std::vector<std::string> values) const;
  /// Refuses numbers outside lo..hi. Help does not show the bounds: they only catch slips.
  Flag in_range(std::int64_t lo, std::int64_t hi) const;
  Flag in_interval(double lo, double hi) const;
  /// `check` gives what is wrong with the text, or "".
  Flag check(std::function<std::string(const std::string&)> check) const;
  /// Not together with `other`.
  Flag excludes(const Flag& other) const;
  /// A list takes one value each time the flag is given, not all arguments that follow.
  Flag one_value_each_time() const;

  /// Whether the command line has it; to be asked in Command::check() and later.
  bool given() const;
  /// Does as if it had it with these values, at the same time. Throws UsageError for what it would
  /// refuse.
  void set(const std::vector<std::string>& values) const;

 private:
  CLI::Option* option_;
};

/// A sub-command that is being described; a handle, to be copied. Variables must outlive the
/// command line.
class Command {
 public:
  Command(CLI::App& app, std::function<void()>& action);

  /// A flag ("-n,--max-tokens") or an argument ("MODEL"). T: std::string, int, std::int64_t,
  /// std::uint64_t, double, std::optional<double> or std::vector<std::string>.
  template <typename T>
  Flag add(const std::string& names, T& value, const std::string& description) const;
  Flag add_switch(const std::string& names, bool& value, const std::string& description) const;
  /// `take` is given the text; of a list, all of them.
  Flag add_parsed(const std::string& names, std::function<void(const std::string&)> take,
                  const std::string& description) const;
  Flag add_parsed_list(const std::string& names,
                       std::function<void(const std::vector<std::string>&)> take,
                       const std::string& description) const;

  /// Ends the help with an example, and before it with `notes`, one to a few paragraphs with an
  /// empty line between them.
  void set_example(const std::string& example, const std::string& notes = "") const;
  /// What is wrong with the flags together: `check` throws UsageError.
  void check(std::function<void()> check) const;
  /// A flag that was added before, by its name ("--seed").
  Flag flag(const std::string& name) const;
  /// What is done if this sub-command is chosen.
  void set_action(std::function<void()> action) const;

 private:
  CLI::App* app_;
  std::function<void()>* action_;
  std::shared_ptr<std::vector<std::function<void()>>> checks_;
};

class CommandLine {
 public:
  CommandLine(const std::string& description, const std::string& version);
  ~CommandLine();

  Command add_command(const std::string& name, const std::string& description);

  /// Chooses an action(). Gives false where there is nothing more to do: --help or --version was
  /// printed. Throws UsageError, with a line that says where help is.
  bool parse(int argc, const char* const* argv);
  const std::function<void()>& action() const { return action_; }

 private:
  std::unique_ptr<CLI::App> app_;
  std::function<void()> action_;
};

}  // namespace nibble::cli
