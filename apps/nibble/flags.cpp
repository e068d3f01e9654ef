#include "flags.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "nibble/core/log.h"
#include "nibble/core/nearest_name.h"

namespace nibble::cli {
namespace {

/// CLI11's help with long descriptions broken into lines of 80 characters.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override {
    constexpr std::size_t kLine = 80;
    const std::size_t width = kLine - column_width_;
    const std::string text = option->get_description();
    std::string out;
    std::size_t begin = 0;
    while (text.size() - begin > width) {
      const std::size_t blank = text.rfind(' ', begin + width);
      if (blank == std::string::npos || blank <= begin) break;  // one long word
      out += text.substr(begin, blank - begin) + "\n";
      begin = blank + 1;
    }
    return out + text.substr(begin);
  }
};

std::string did_you_mean(std::string_view word, const std::vector<std::string>& names) {
  const auto nearest = nearest_name(word, names);
  return nearest ? fmt::format("; did you mean {}?", *nearest) : "";
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

/// A word that looks like a flag but is none: what is wrong with it, or "".
std::string describe_unknown_flag(const CLI::App& app) {
  if (app.get_subcommands().empty()) return "";
  const CLI::App& command = *app.get_subcommands().front();
  const std::vector<std::string> flags = flags_of(command);
  for (const std::string& word : command.remaining()) {
    if (!word.starts_with("--") || word == "--") continue;
    const std::string name = word.substr(0, word.find('='));
    // The longest flag that the word goes on from.
    std::string begin;
    for (const std::string& flag : flags) {
      if (name.starts_with(flag) && flag.size() > begin.size()) begin = flag;
    }
    const auto nearest = nearest_name(name, flags);
    if (nearest) return fmt::format("no such flag: {}; did you mean {}?", word, *nearest);
    if (begin.empty()) return fmt::format("no such flag: {}", word);
    return fmt::format("no such flag: {}; a blank is missing behind {}", word, begin);
  }
  return "";
}

/// What is wrong with words that are neither flags nor arguments nor, before all others, a command.
std::string describe_extras(const CLI::App& app, const CLI::ExtrasError& error) {
  for (const std::string& word : app.remaining()) {
    if (word.starts_with("-")) continue;
    return fmt::format("unknown command \"{}\"{}", word, did_you_mean(word, commands_of(app)));
  }
  return error.what();
}

}  // namespace

Flag Flag::required() const {
  option_->required();
  return *this;
}

Flag Flag::show_default() const {
  option_->capture_default_str();
  return *this;
}

Flag Flag::one_of(std::initializer_list<const char*> values) const {
  return one_of(std::vector<std::string>(values.begin(), values.end()));
}

Flag Flag::one_of(std::vector<std::string> values) const {
  const std::string list = fmt::format("{{{}}}", fmt::join(values, ","));
  constexpr std::size_t kMostBesideTheName = 50;  // columns of a line of help
  const bool is_long = list.size() > kMostBesideTheName;
  if (is_long) {
    option_->description(
        fmt::format("{}: {}", option_->get_description(), fmt::join(values, ", ")));
  }
  const auto check = [list, values = std::move(values)](const std::string& text) {
    if (std::find(values.begin(), values.end(), text) != values.end()) return std::string();
    return fmt::format("expected one of {}, found {}{}", list, text, did_you_mean(text, values));
  };
  option_->check(CLI::Validator(check, is_long ? "" : list));
  return *this;
}

Flag Flag::one_of(std::initializer_list<int> values) const {
  option_->check(CLI::IsMember(std::vector<int>(values)));
  return *this;
}

Flag Flag::in_range(std::int64_t lo, std::int64_t hi) const {
  option_->check(CLI::Range(lo, hi).description(""));
  return *this;
}

Flag Flag::in_interval(double lo, double hi) const {
  option_->check(CLI::Range(lo, hi).description(""));
  return check([](const std::string& text) {  // which no range refuses
    return std::isnan(std::strtod(text.c_str(), nullptr)) ? "expected a number, found " + text : "";
  });
}

Flag Flag::check(std::function<std::string(const std::string&)> check) const {
  option_->check(std::move(check));
  return *this;
}

Flag Flag::excludes(const Flag& other) const {
  option_->excludes(other.option_);
  return *this;
}

Flag Flag::one_value_each_time() const {
  option_->allow_extra_args(false);
  return *this;
}

bool Flag::given() const {
  return option_->count() > 0;
}

void Flag::set(const std::vector<std::string>& values) const {
  try {
    for (const std::string& value : values) option_->add_result(value);
    option_->run_callback();
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
}

Command::Command(CLI::App& app, std::function<void()>& action)
    : app_(&app),
      action_(&action),
      checks_(std::make_shared<std::vector<std::function<void()>>>()) {}

template <typename T>
Flag Command::add(const std::string& names, T& value, const std::string& description) const {
  return Flag(*app_->add_option(names, value, description));
}

template Flag Command::add(const std::string&, std::string&, const std::string&) const;
template Flag Command::add(const std::string&, int&, const std::string&) const;
template Flag Command::add(const std::string&, std::int64_t&, const std::string&) const;
template Flag Command::add(const std::string&, std::uint64_t&, const std::string&) const;
template Flag Command::add(const std::string&, double&, const std::string&) const;
template Flag Command::add(const std::string&, std::optional<double>&, const std::string&) const;
template Flag Command::add(const std::string&, std::vector<std::string>&, const std::string&) const;

Flag Command::add_switch(const std::string& names, bool& value,
                         const std::string& description) const {
  return Flag(*app_->add_flag(names, value, description));
}

Flag Command::add_parsed(const std::string& names, std::function<void(const std::string&)> take,
                         const std::string& description) const {
  return Flag(*app_->add_option_function(names, std::move(take), description));
}

Flag Command::add_parsed_list(const std::string& names,
                              std::function<void(const std::vector<std::string>&)> take,
                              const std::string& description) const {
  return Flag(*app_->add_option_function(names, std::move(take), description));
}

Flag Command::flag(const std::string& name) const {
  return Flag(*app_->get_option(name));
}

void Command::set_example(const std::string& example, const std::string& notes) const {
  app_->footer((notes.empty() ? "" : notes + "\n\n") + "Example:\n  " + example);
}

void Command::check(std::function<void()> check) const {
  checks_->push_back(std::move(check));
  app_->parse_complete_callback([checks = checks_] {
    for (const auto& holds : *checks) holds();
  });
}

void Command::set_action(std::function<void()> action) const {
  app_->final_callback([chosen = action_, action = std::move(action)] { *chosen = action; });
}

CommandLine::CommandLine(const std::string& description, const std::string& version)
    : app_(std::make_unique<CLI::App>(description, "nibble")) {
  app_->set_version_flag("--version", version);
  app_->require_subcommand(0, 1);  // none is refused below: CLI11 would not name an unknown one
  app_->footer("nibble COMMAND --help says more, with an example.");
  app_->formatter(std::make_shared<HelpFormatter>());  // of the sub-commands too
}

CommandLine::~CommandLine() = default;

Command CommandLine::add_command(const std::string& name, const std::string& description) {
  return {*app_->add_subcommand(name, description), action_};
}

bool CommandLine::parse(int argc, const char* const* argv) {
  std::string wrong;
  try {
    app_->parse(argc, argv);
    if (action_) return true;
    wrong = "A command is required";
  } catch (const CLI::Success& done) {
    app_->exit(done);
    return false;
  } catch (const CLI::ExtrasError& error) {
    wrong = describe_extras(*app_, error);
  } catch (const CLI::ParseError& error) {
    wrong = error.what();
  } catch (const UsageError& error) {
    wrong = error.what();
  }
  // What is missing may be what was misspelt.
  if (const std::string unknown = describe_unknown_flag(*app_); !unknown.empty()) wrong = unknown;
  std::string command = "nibble";
  for (const CLI::App* chosen : app_->get_subcommands()) command += " " + chosen->get_name();
  throw UsageError(fmt::format("{} ({} --help says more)", one_line(wrong), command));
}

}  // namespace nibble::cli
