// Matrix products with int8 activations for a few tokens (decode): the weights are unpacked once in
// registers and multiplied with every token. Include the set's int8.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"
#include "nibble/kernels/vector/matmul_few.h"

namespace nibble {
namespace {

// What takes sums by reference is inlined always: out of line they would live in memory.

// The groups of a weight matrix: their number, and columns of each in the packed layout. A row of
// w8 is one.
struct Groups {
  std::int64_t count;
  std::int64_t cols;
};
template <int kBits>
Groups groups_of(const WeightView& weight) {
  if constexpr (kBits == 8) {
    return {1, (weight.cols + 3) / 4 * 4};
  } else {
    return {weight.cols / weight.group_size, weight.group_size};
  }
}

// A block of 16 rows; of w8 only the codes.
template <int kBits>
PackedBlock int8_block(const WeightView& weight, std::int64_t row) {
  if constexpr (kBits == 8) {
    return {w8_block(weight, row), nullptr, nullptr, ScaleType::kBF16};
  } else {
    return packed_block<kBits>(weight, row);
  }
}

// The zero points of a group of a block as pairs of int16: (zero, 0).
template <int kBits>
Ints load_zero_pairs(const PackedBlock& block, std::int64_t group, int v) {
  if constexpr (kBits == 8) {
    return broadcast_int(Dot<8>::kZero);
  } else {
    return ints(load_zero_ints<kBits>(block.zeros + group * 2 * kBits, v));
  }
}

// zero * code_sum. Where there are groups |code_sum| is at most 127 * 128, an int16.
template <int kBits>
Ints zero_product(Ints zeros, std::int32_t code_sum) {
  if constexpr (kBits == 8) {
    return zeros * code_sum;
  } else {
    return multiply_pairs(zeros, broadcast_int(code_sum));
  }
}

// totals += (scale * x_scale) * (sum - zero * code_sum) for one group.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void add_int8_group(const MatmulTask& task, const PackedBlock& block,
                                                  std::int64_t row, std::int64_t group,
                                                  const Ints (&sums)[kTokens][kBlockVectors],
                                                  Vec (&totals)[kTokens][kBlockVectors]) {
  const std::int64_t groups = groups_of<kBits>(task.weight).count;
  if constexpr (kBits != 8) prefetch_scales<kBits>(block, group);
#pragma GCC unroll 2
  for (int v = 0; v < kBlockVectors; ++v) {
    const Vec scale =
        kBits == 8 ? load(w8_scales(task.weight, row) + v * kLanes) : load_scales(block, group, v);
    const Ints zeros = load_zero_pairs<kBits>(block, group, v);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const std::int64_t at = t * groups + group;
      const Ints offset = zero_product<kBits>(zeros, task.x_code_sums[at]);
      totals[t][v] =
          fma(scale * broadcast(task.x_scales[at]), to_floats(sums[t][v] - offset), totals[t][v]);
    }
  }
}

// Columns whose products a Dot sums in int16 before they go to int32, where it does.
constexpr std::int64_t kPartialCols = 32;

// Adds the products of the chunk at `codes`, its groups of four columns to several chains in turn,
// and moves on to the next chunk.
template <int kBits, Fetch kFetch, int kChains, int kTokens, typename Sum>
[[gnu::always_inline]] inline void dot_chunk(const std::uint8_t*& codes,
                                             const std::int8_t* (&x)[kTokens], int first,
                                             Sum (&chains)[kChains][kTokens][kBlockVectors]) {
  prefetch_codes<kBits, kFetch>(codes);
  const Codes<kBits> unpacked(codes);
  codes += Codes<kBits>::kBytes;
  // Without this GCC keeps an address for each of a chunk's loads in place of one a token.
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) asm("" : "+r"(x[t]));
#pragma GCC unroll 8
  for (int i = 0; i < Codes<kBits>::kCols / 4; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      const auto weights = Dot<kBits>::weights(unpacked.bytes(i, v));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        Sum& sum = chains[(first + i) % kChains][t][v];
        sum = Dot<kBits>::add(sum, weights, broadcast_bytes(x[t] + 4 * i));
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) x[t] += Codes<kBits>::kCols;
}

// sum(q * code) of one group and block of rows, in several chains for few tokens as in sum_group.
template <int kBits, int kTokens, Fetch kFetch>
[[gnu::always_inline]] inline void dot_group(const std::uint8_t* codes, const std::int8_t* x,
                                             std::int64_t x_stride, std::int64_t cols,
                                             Ints (&sums)[kTokens][kBlockVectors]) {
  constexpr int kSums = kTokens * kBlockVectors;
  constexpr int kChains = kSums <= 2 ? 4 : kSums <= 4 ? 2 : 1;
  constexpr int kSteps = Codes<kBits>::kCols / 4;
  constexpr int kChunks = kSteps < kChains ? kChains / kSteps : 1;  // so that each chain has a step
  constexpr int kCols = kChunks * Codes<kBits>::kCols;
  Ints chains[kChains][kTokens][kBlockVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kChains; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) chains[i][t][v] = Ints{};
    }
  }
  const std::int8_t* rows[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) rows[t] = x + t * x_stride;
  std::int64_t c = 0;
  if constexpr (Dot<kBits>::kInt16) {
    for (; c < cols; c += kPartialCols) {
      typename Dot<kBits>::Sum partial[1][kTokens][kBlockVectors] = {};
#pragma GCC unroll 4
      for (int j = 0; j < kPartialCols; j += Codes<kBits>::kCols) {
        dot_chunk<kBits, kFetch>(codes, rows, 0, partial);
      }
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int v = 0; v < kBlockVectors; ++v) {
          chains[0][t][v] += Dot<kBits>::widen(partial[0][t][v]);
        }
      }
    }
  } else {
    for (; c + kCols <= cols; c += kCols) {
#pragma GCC unroll 4
      for (int j = 0; j < kChunks; ++j) dot_chunk<kBits, kFetch>(codes, rows, j * kSteps, chains);
    }
  }
  if constexpr (kBits == 8) {  // the others' groups have a multiple of 32 columns
    for (; c < cols; c += 4) dot_chunk<kBits, kFetch>(codes, rows, 0, chains);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      sums[t][v] = chains[0][t][v];
#pragma GCC unroll 4
      for (int i = 1; i < kChains; ++i) sums[t][v] += chains[i][t][v];
    }
  }
}

template <int kBits, int kTokens, Fetch kFetch>
void few_int8(const MatmulTask& task) {
  const auto* x = static_cast<const std::int8_t*>(task.x);
  const Groups groups = groups_of<kBits>(task.weight);
  const std::int64_t group_bytes = groups.cols * 2 * kBits;  // of 16 rows
  for (std::int64_t row = task.row_begin; row < task.row_end; row += 16) {
    const PackedBlock block = int8_block<kBits>(task.weight, row);
    Vec totals[kTokens][kBlockVectors];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) totals[t][v] = zero();
    }
    for (std::int64_t g = 0; g < groups.count; ++g) {
      Ints sums[kTokens][kBlockVectors];
      dot_group<kBits, kTokens, kFetch>(block.codes + g * group_bytes, x + g * groups.cols,
                                        task.x_stride, groups.cols, sums);
      add_int8_group<kBits, kTokens>(task, block, row, g, sums, totals);
    }
    store_block<kTokens>(task, row, totals);
  }
}

// The instance for the task's number of tokens, up to kFewTokens.
template <int kBits, Fetch kFetch, int kTokens = kFewTokens>
void multiply_few_int8(const MatmulTask& task) {
  if constexpr (kTokens > 0) {
    if (task.tokens == kTokens) return few_int8<kBits, kTokens, kFetch>(task);
    multiply_few_int8<kBits, kFetch, kTokens - 1>(task);
  }
}

}  // namespace
}  // namespace nibble
