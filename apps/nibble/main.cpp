// The nibble command: parses the command line, runs one sub-command, turns errors into exit codes.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "command.h"
#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"

namespace {

using namespace nibble;

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr int kSignalled = 128;  // plus the signal's number, as shells report it

volatile std::sig_atomic_t last_signal = 0;

void on_signal(int signal) {
  last_signal = signal;
  request_interrupt();
}

/// Ctrl-C and SIGTERM ask for a stop; a second one ends the process at once.
void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_DFL);  // a closed pipe ends the command quietly, as it does others
}

int report(const char* message) {
  fmt::print(stderr, "nibble: {}\n", message);
  return kFailed;
}

int run(const cli::Action& action) {
  try {
    action();
    if (std::fflush(stdout) != 0) return report("standard output: cannot be written");
    return 0;
  } catch (const Interrupted&) {
    return kSignalled + static_cast<int>(last_signal);
  } catch (const std::bad_alloc&) {
    return report("out of memory");
  } catch (const std::exception& error) {
    return report(error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  install_signal_handlers();
  CLI::App app(
      "Takes a language model down to 3 or 4 bits a weight, says what that cost, and runs it.",
      "nibble");
  app.set_version_flag("--version", "nibble " NIBBLE_VERSION);
  app.require_subcommand(1);
  app.footer("\nnibble COMMAND --help says more, with an example.");
  cli::CommonFlags common;
  cli::Action action;
  for (const auto add :
       {cli::add_run, cli::add_quantize, cli::add_eval, cli::add_logits, cli::add_tokenize,
        cli::add_detokenize, cli::add_inspect, cli::add_init, cli::add_info, cli::add_bench}) {
    add(app, common, action);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongUsage;
  }
  set_log_level(common.quiet     ? LogLevel::kQuiet
                : common.verbose ? LogLevel::kVerbose
                                 : LogLevel::kNormal);
  set_progress_enabled(!common.quiet);
  return run(action);
}
