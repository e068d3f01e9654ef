// Matrix products with int8 activations (kernel_set.h: matmul_int8): bytes of weights times codes
// of activations, summed in int32 over a group, whose sum then takes its scales in float32. Include
// the set's int8.h first, and define Dot, how bytes are multiplied.
#pragma once

#include "nibble/kernels/vector/matmul_int8_few.h"
#include "nibble/kernels/vector/matmul_int8_many.h"

namespace nibble {
namespace {

template <int kBits>
void multiply_int8(const MatmulTask& task) {
  if (task.tokens > kFewTokens) return multiply_many_int8<kBits>(task);
  is_intel() ? multiply_few_int8<kBits, Fetch::kToL2>(task)
             : multiply_few_int8<kBits, Fetch::kPastL2>(task);
}

}  // namespace
}  // namespace nibble
