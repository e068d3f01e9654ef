// The nibble command: parses the command line, runs one sub-command, turns errors into exit codes.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <new>
#include <system_error>

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

/// Ctrl-C, SIGTERM and a terminal that is closed ask for a stop; a second one ends the process at
/// once. What nohup ignores stays ignored.
void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction before {};
  sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a file larger than is allowed is an error of its writer
  std::signal(SIGPIPE, SIG_DFL);  // a closed pipe ends the command quietly, as it does others
}

int report(const char* message) {
  fmt::print(stderr, "nibble: {}\n", one_line(message));
  return kFailed;
}

/// Exit status after results were written: those that did not get through (a full disk) are no
/// success.
int finish_output() {
  std::cout.flush();
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  return written ? 0 : report("standard output: cannot be written");
}

int run(const std::function<void()>& action) {
  try {
    action();
    return finish_output();
  } catch (const Interrupted&) {
    return kSignalled + static_cast<int>(last_signal);
  } catch (const std::bad_alloc&) {
    return report("out of memory");
  } catch (const std::system_error& error) {  // fmt::print's, where a write fails at once
    return std::ferror(stdout) != 0 ? finish_output() : report(error.what());
  } catch (const std::exception& error) {
    return report(error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  install_signal_handlers();
  cli::CommandLine line(
      "Quantizes a language model to 3 or 4 bits, says what that cost, and runs it.",
      "nibble " NIBBLE_VERSION);
  cli::CommonFlags common;
  for (const auto add :
       {cli::add_run, cli::add_chat, cli::add_quantize, cli::add_eval, cli::add_logits,
        cli::add_tokenize, cli::add_detokenize, cli::add_template, cli::add_inspect, cli::add_init,
        cli::add_info, cli::add_bench, cli::add_profile, cli::add_report, cli::add_export,
        cli::add_npu, cli::add_run_awq, cli::add_run_smoothquant}) {
    add(line, common);
  }
  try {
    if (!line.parse(argc, argv)) return finish_output();
  } catch (const cli::UsageError& error) {
    fmt::print(stderr, "nibble: {}\n", error.what());
    return kWrongUsage;
  }
  set_log_level(common.quiet     ? LogLevel::kQuiet
                : common.verbose ? LogLevel::kVerbose
                                 : LogLevel::kNormal);
  set_progress_enabled(!common.quiet);
  return run(line.action());
}
