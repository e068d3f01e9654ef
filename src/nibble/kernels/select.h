// Which kernel set this process computes with.
#pragma once

#include <span>
#include <string>

#include "nibble/kernels/kernel_set.h"

namespace nibble {

/// The sets that this CPU and operating system can run, best first; scalar is always the last.
std::span<const KernelSet* const> supported_kernels();

/// The set to compute with: the best supported one, or the one that the environment variable
/// NIBBLE_ISA names (empty is as unset). Throws Error if that name is unknown or this machine
/// cannot run it.
const KernelSet& select_kernels();

/// The CPU's name and the instruction sets that matter here, as `nibble info` shows them.
struct CpuInfo {
  std::string model;     // "AMD EPYC ..."
  std::string features;  // "avx2 fma f16c avx512f ..."
};
CpuInfo cpu_info();

}  // namespace nibble
