// Many completions, some at a time: each pass takes a step of all that are under way, and who is
// done makes room for the next.
#pragma once

#include <cstdint>

#include "nibble/core/function_ref.h"
#include "nibble/runtime/generate.h"

namespace nibble {

/// A completion and the cache that holds the first of its tokens, or none.
struct SequenceRun {
  Sequence sequence;
  KvCache cache;
};

/// Runs completions 0 .. count - 1 to their ends, up to `at_once` in each pass. `start` gives
/// number i when its turn has come, in order; `on_done` takes it, in the order of their ends.
/// A completion is what generate() makes of it, but that sums may be in another order (with other
/// rows in a pass the kernels are others); the times of its Generation are 0. Throws Error as
/// generate() does.
void generate_many(Model& model, std::int64_t count, std::int64_t at_once,
                   FunctionRef<SequenceRun(std::int64_t number)> start,
                   FunctionRef<void(std::int64_t number, const Generation&)> on_done);

}  // namespace nibble
