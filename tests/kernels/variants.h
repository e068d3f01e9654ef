// The kernel sets that this machine can run, and beside them what a set takes on other processors.
#pragma once

#include <vector>

#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/select.h"

namespace nibble::test {

inline KernelSet named_set(const char* name, const KernelSet& set) {
  KernelSet named = set;
  named.name = name;
  return named;
}

/// AVX-512 with bfloat16 activations multiplied by VDPBF16PS.
inline const KernelSet& avx512_dot_kernels() {
  static const KernelSet set = [] {
    KernelSet dot = named_set("avx512_dot", kAvx512Kernels);
    dot.matmul_bf16[static_cast<int>(WeightFormat::kBF16)] = avx512::matmul_dot_bf16;
    dot.matmul_bf16[static_cast<int>(WeightFormat::kW4)] = avx512::matmul_dot_w4;
    dot.matmul_bf16[static_cast<int>(WeightFormat::kW3)] = avx512::matmul_dot_w3;
    dot.matmul_bf16[static_cast<int>(WeightFormat::kW8)] = avx512::matmul_dot_w8;
    return dot;
  }();
  return set;
}

/// The same by float32 multiply-adds.
inline const KernelSet& avx512_wide_kernels() {
  static const KernelSet set = [] {
    KernelSet wide = named_set("avx512_wide", kAvx512Kernels);
    wide.matmul_bf16[static_cast<int>(WeightFormat::kBF16)] = avx512::matmul_wide_bf16;
    wide.matmul_bf16[static_cast<int>(WeightFormat::kW4)] = avx512::matmul_wide_w4;
    wide.matmul_bf16[static_cast<int>(WeightFormat::kW3)] = avx512::matmul_wide_w3;
    wide.matmul_bf16[static_cast<int>(WeightFormat::kW8)] = avx512::matmul_wide_w8;
    return wide;
  }();
  return set;
}

inline std::vector<const KernelSet*> kernel_variants() {
  std::vector<const KernelSet*> all;
  for (const KernelSet* set : supported_kernels()) {
    if (set == &kAvx512Kernels) {
      all.insert(all.end(), {&avx512_dot_kernels(), &avx512_wide_kernels()});
    } else {
      all.push_back(set);
    }
  }
  return all;
}

}  // namespace nibble::test
