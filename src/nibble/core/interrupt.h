// Ctrl-C as a flag: a signal handler (or another thread) asks for a stop, long loops look at it
// between pieces of work and unwind by an exception, so that temporary files are removed.
#pragma once

#include <exception>

namespace nibble {

/// Thrown by check_interrupt(); deliberately not an Error, so that nothing reports it as one.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// Asks every long operation of the process to stop. Safe to call from a signal handler.
void request_interrupt() noexcept;

/// Takes the request back: the operation it was meant for has ended, the process goes on.
void clear_interrupt() noexcept;

/// Whether a stop was asked for.
bool interrupt_requested() noexcept;

/// Throws Interrupted if a stop was asked for. Call it at least every tenth of a second of work.
void check_interrupt();

}  // namespace nibble
