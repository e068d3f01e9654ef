// Where the time of a model goes, as tables: `nibble profile`, and the profiling tasks and flags of
// `run_awq` and `run_smoothquant`.
#pragma once

#include <string>
#include <vector>

#include "nibble/bench/profile.h"
#include "table.h"

namespace nibble::cli {

/// Prints what was measured of the machine, and tables of operators and layers, prefill and decode
/// apart. `name` is what the model is called.
void print_profile(const std::string& name, Model& model, const ProfileReport& report);

/// Time and rate of each kind of linear layer for each completion, prompt and tokens apart.
Table product_table(const std::vector<LatencyRow>& rows);
/// Time of each decoder block for each completion, likewise.
Table layer_table(const std::vector<LatencyRow>& rows);

}  // namespace nibble::cli
