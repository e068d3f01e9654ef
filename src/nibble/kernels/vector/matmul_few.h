// Matrix products for a few tokens (decode) with float32 activations, or with bfloat16 where the
// set says how (Product): the weights are unpacked once in registers and multiplied with every
// token. Include the set's simd.h and codes.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"

namespace nibble {
namespace {

// Ahead of the streams that a thread reads: the codes ...
constexpr std::int64_t kPrefetchBytes = 4096;
// ... and the scales and zero points, which are too few for the processor's own prefetching to keep
// up with: it sees a new line of them only every other group.
constexpr std::int64_t kPrefetchScaleBytes = 1024;

// How the codes are fetched. kPastL2: as if they were never read again, so that they leave the
// first-level cache to the activations; that gives them one way of it, of 4 KiB. Intel's processors
// fetch so by the few buffers of their first-level cache alone, and take up to 1.6 times as long as
// with kToL2, into the second level.
enum class Fetch { kPastL2, kToL2 };

inline bool is_intel() {
  return __builtin_cpu_is("intel") != 0;
}

// Where the parts of one block of 16 packed rows lie.
struct PackedBlock {
  const std::uint8_t* codes;
  const std::uint16_t* scales;  // (groups, 16) bfloat16 or float16
  const std::uint8_t* zeros;    // (groups, 2 * bits)
  ScaleType scale_type;
};

template <int kBits>
PackedBlock packed_block(const WeightView& weight, std::int64_t row) {
  const std::int64_t block = row / 16;
  const std::int64_t groups = weight.cols / weight.group_size;
  return {
      static_cast<const std::uint8_t*>(weight.parts[kCodesPart]) + block * weight.cols * 2 * kBits,
      static_cast<const std::uint16_t*>(weight.parts[kScalesPart]) + block * groups * 16,
      static_cast<const std::uint8_t*>(weight.parts[kZerosPart]) + block * groups * 2 * kBits,
      weight.scale_type};
}

// The scales of vector v of a group's 16 rows.
inline Vec load_scales(const PackedBlock& block, std::int64_t group, int v) {
  const void* scales = block.scales + group * 16 + v * kLanes;
  return block.scale_type == ScaleType::kBF16 ? load(static_cast<const BFloat16*>(scales))
                                              : load(static_cast<const Float16*>(scales));
}

// Writes the sums of one block of rows; the rows past the matrix are left out.
template <int kTokens>
void store_block(const MatmulTask& task, std::int64_t row,
                 const Vec (&totals)[kTokens][kBlockVectors]) {
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      store(task.out + t * task.out_stride + row + v * kLanes, totals[t][v],
            first_lanes(task.row_end - row - v * kLanes));
    }
  }
}

// How codes and activations are multiplied: `kCols` columns of a block of 16 rows at a time. A set
// that can multiply bfloat16 specializes it.
template <typename Activation>
struct Product;

template <>
struct Product<float> {
  static constexpr int kCols = 1;
  template <int kBits>
  static Vec unpack(const Codes<kBits>& codes, int i, int v) {
    return codes.column(i, v);
  }
  static Vec add(Vec sum, Vec q, const float* x) { return fma(q, broadcast(*x), sum); }

  // A chunk of four columns of w8 as four operands of add(), the first column of each.
  static Vec unpack_chunk(const Codes<8>& codes, int part, int v) { return codes.column(part, v); }
  static int chunk_column(int part) { return part; }
};

template <int kBits>
[[gnu::always_inline]] inline void prefetch_scales(const PackedBlock& block, std::int64_t group) {
  const auto* scales = reinterpret_cast<const char*>(block.scales + group * 16);
  const auto* zeros = reinterpret_cast<const char*>(block.zeros + group * 2 * kBits);
  _mm_prefetch(scales + kPrefetchScaleBytes, _MM_HINT_T0);
  _mm_prefetch(zeros + kPrefetchScaleBytes * kBits / 16, _MM_HINT_T0);  // as many groups ahead
}

// totals += scale * (sum(q x) - zero * sum(x)) for one group.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void add_group(const MatmulTask& task, const PackedBlock& block,
                                             std::int64_t group,
                                             const Vec (&sums)[kTokens][kBlockVectors],
                                             Vec (&totals)[kTokens][kBlockVectors]) {
  const std::int64_t groups = task.weight.cols / task.weight.group_size;
  prefetch_scales<kBits>(block, group);
#pragma GCC unroll 2
  for (int v = 0; v < kBlockVectors; ++v) {
    const Vec scale = load_scales(block, group, v);
    const Vec zero = load_zeros<kBits>(block.zeros + group * 2 * kBits, v);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const Vec centred = negated_fma(zero, broadcast(task.x_sums[t * groups + group]), sums[t][v]);
      totals[t][v] = fma(scale, centred, totals[t][v]);
    }
  }
}

template <int kBits, Fetch kFetch>
[[gnu::always_inline]] inline void prefetch_codes(const std::uint8_t* codes) {
  constexpr auto kHint = kFetch == Fetch::kPastL2 ? _MM_HINT_NTA : _MM_HINT_T1;
  const auto* line = reinterpret_cast<const char*>(codes) + kPrefetchBytes;
#pragma GCC unroll 3
  for (int i = 0; i < Codes<kBits>::kBytes; i += 64) _mm_prefetch(line + i, kHint);
}

// sum(q x) of one group and block of rows, 32 columns at a time. Few tokens take several sums each,
// so that the chain of additions is not what the loop waits for: it takes eight at once.
template <int kBits, int kTokens, Fetch kFetch, typename Activation>
[[gnu::always_inline]] inline void sum_group(const std::uint8_t* codes, const Activation* x,
                                             std::int64_t x_stride, std::int64_t group_size,
                                             Vec (&sums)[kTokens][kBlockVectors]) {
  constexpr int kCols = Product<Activation>::kCols;
  constexpr int kSums = kTokens * kBlockVectors;
  constexpr int kChains = kSums < 8 ? 8 / kSums : 1;
  constexpr int kSteps = Codes<kBits>::kCols / kCols;
  Vec chains[kChains][kTokens][kBlockVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kChains; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) chains[i][t][v] = zero();
    }
  }
  for (std::int64_t c = 0; c < group_size; c += 32) {
#pragma GCC unroll 4
    for (int chunk = 0; chunk < 32 / Codes<kBits>::kCols; ++chunk) {
      prefetch_codes<kBits, kFetch>(codes);
      const Codes<kBits> unpacked(codes);
      codes += Codes<kBits>::kBytes;
#pragma GCC unroll 32
      for (int i = 0; i < kSteps; ++i) {
        const int step = chunk * kSteps + i;
#pragma GCC unroll 2
        for (int v = 0; v < kBlockVectors; ++v) {
          const auto q = Product<Activation>::unpack(unpacked, i, v);
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t) {
            Vec& sum = chains[step % kChains][t][v];
            sum = Product<Activation>::add(sum, q, x + t * x_stride + c + step * kCols);
          }
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      sums[t][v] = chains[0][t][v];
#pragma GCC unroll 8
      for (int i = 1; i < kChains; ++i) sums[t][v] = sums[t][v] + chains[i][t][v];
    }
  }
}

template <int kBits, int kTokens, Fetch kFetch, typename Activation>
void few_packed(const MatmulTask& task, const Activation* x, std::int64_t x_stride) {
  const std::int64_t group_size = task.weight.group_size;
  for (std::int64_t row = task.row_begin; row < task.row_end; row += 16) {
    const PackedBlock block = packed_block<kBits>(task.weight, row);
    Vec totals[kTokens][kBlockVectors];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) totals[t][v] = zero();
    }
    for (std::int64_t g = 0; g < task.weight.cols / group_size; ++g) {
      Vec sums[kTokens][kBlockVectors];
      sum_group<kBits, kTokens, kFetch>(block.codes + g * group_size * 2 * kBits,
                                        x + g * group_size, x_stride, group_size, sums);
      add_group<kBits, kTokens>(task, block, g, sums, totals);
    }
    store_block<kTokens>(task, row, totals);
  }
}

// The first packed chunk of the block of 16 rows of w8 that begins with `row`.
inline const std::uint8_t* w8_block(const WeightView& weight, std::int64_t row) {
  const std::int64_t chunks = (weight.cols + 3) / 4;
  return static_cast<const std::uint8_t*>(weight.parts[kCodesPart]) + row / 16 * chunks * 64;
}

// The scales of the rows of w8 from `row` on.
inline const float* w8_scales(const WeightView& weight, std::int64_t row) {
  return static_cast<const float*>(weight.parts[kScalesPart]) + row;
}

// sums[part % kChains] += q x for a chunk of four columns.
template <int kChains, int kTokens, typename Activation>
[[gnu::always_inline]] inline void add_chunk(const std::uint8_t* codes, const Activation* x,
                                             std::int64_t x_stride,
                                             Vec (&sums)[kChains][kTokens][kBlockVectors]) {
  const Codes<8> unpacked(codes);
#pragma GCC unroll 4
  for (int part = 0; part < 4; ++part) {
    const int column = Product<Activation>::chunk_column(part);
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      const auto q = Product<Activation>::unpack_chunk(unpacked, part, v);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        Vec& sum = sums[part % kChains][t][v];
        sum = Product<Activation>::add(sum, q, x + t * x_stride + column);
      }
    }
  }
}

// The same for the last columns of a matrix where they are less than four. The codes of those that
// are missing stand for 0.
template <int kChains, int kTokens, typename Activation>
void add_last_chunk(const std::uint8_t* codes, const Activation* x, std::int64_t x_stride,
                    std::int64_t cols, Vec (&sums)[kChains][kTokens][kBlockVectors]) {
  Activation last[kTokens][4] = {};
  for (int t = 0; t < kTokens; ++t) {
    for (std::int64_t c = 0; c < cols; ++c) last[t][c] = x[t * x_stride + c];
  }
  add_chunk(codes, last[0], 4, sums);
}

template <int kTokens, Fetch kFetch, typename Activation>
void few_w8(const MatmulTask& task, const Activation* x, std::int64_t x_stride) {
  constexpr int kSums = kTokens * kBlockVectors;
  constexpr int kChains = kSums <= 2 ? 4 : kSums <= 4 ? 2 : 1;
  const std::int64_t cols = task.weight.cols;
  for (std::int64_t row = task.row_begin; row < task.row_end; row += 16) {
    const std::uint8_t* codes = w8_block(task.weight, row);
    Vec sums[kChains][kTokens][kBlockVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int v = 0; v < kBlockVectors; ++v) sums[i][t][v] = zero();
      }
    }
    std::int64_t c = 0;
    for (; c + 4 <= cols; c += 4, codes += 64) {
      prefetch_codes<8, kFetch>(codes);
      add_chunk(codes, x + c, x_stride, sums);
    }
    if (c < cols) add_last_chunk(codes, x + c, x_stride, cols - c, sums);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) {
#pragma GCC unroll 4
        for (int i = 1; i < kChains; ++i) sums[0][t][v] = sums[0][t][v] + sums[i][t][v];
        sums[0][t][v] = sums[0][t][v] * load(w8_scales(task.weight, row) + v * kLanes);
      }
    }
    store_block<kTokens>(task, row, sums[0]);
  }
}

// How kCols columns of a row of a row-major matrix are multiplied. A set that can multiply bfloat16
// specializes it.
template <typename Activation>
struct RowProduct;

template <>
struct RowProduct<float> {
  static constexpr int kCols = kLanes;
  template <typename Number>
  static Vec load_columns(const Number* p) {
    return load(p);
  }
  template <typename Number>
  static Vec load_columns(const Number* p, std::int64_t n) {
    return load(p, first_lanes(n));
  }
  static Vec add(Vec sum, Vec weights, Vec x) { return fma(weights, x, sum); }
};

// Rows of a matrix from some column on.
template <typename Element>
struct Strided {
  const Element* first;
  std::int64_t stride;
  const Element* row(std::int64_t r) const { return first + r * stride; }
  Strided from(std::int64_t column) const { return {first + column, stride}; }
};

// sums += the products of kCols columns of some rows, or of the n that are left, with every token.
template <bool kAll, int kRows, int kTokens, typename Element, typename Activation>
[[gnu::always_inline]] inline void add_columns(const Strided<Element>& w,
                                               const Strided<Activation>& x, std::int64_t n,
                                               Vec (&sums)[kRows][kTokens]) {
  using Multiply = RowProduct<Activation>;
  const auto load_columns = [n](const auto* p) {
    if constexpr (kAll) {
      return Multiply::load_columns(p);
    } else {
      return Multiply::load_columns(p, n);
    }
  };
  decltype(load_columns(x.first)) columns[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) columns[t] = load_columns(x.row(t));
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const auto weights = load_columns(w.row(r));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sums[r][t] = Multiply::add(sums[r][t], weights, columns[t]);
  }
}

// Rows row .. row + kRows of a row-major matrix with every token, along the columns.
template <typename Element, int kRows, int kTokens, typename Activation>
void few_dense_rows(const MatmulTask& task, std::int64_t row, const Strided<Activation>& x) {
  constexpr int kCols = RowProduct<Activation>::kCols;
  const std::int64_t cols = task.weight.cols;
  const auto* elements = static_cast<const Element*>(task.weight.parts[kCodesPart]);
  const Strided<Element> w{elements + row * cols, cols};
  Vec sums[kRows][kTokens];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sums[r][t] = zero();
  }
  std::int64_t c = 0;
  for (; c + kCols <= cols; c += kCols) {
    add_columns<true>(w.from(c), x.from(c), kCols, sums);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) prefetch(w.row(r + kRows) + c);
  }
  if (c < cols) add_columns<false>(w.from(c), x.from(c), cols - c, sums);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      task.out[t * task.out_stride + row + r] = sum_of(sums[r][t]);
    }
  }
}

// Several rows at a time hide the latency of the sums and share the loads of x; memory feeds eight
// streams of rows more quickly than four (measured: 100 against 97 % of its bandwidth).
template <typename Element, int kTokens, typename Activation>
void few_dense(const MatmulTask& task, const Activation* x, std::int64_t x_stride) {
  constexpr int kRows = 8 * kTokens <= kDenseSums ? 8 : 4 * kTokens <= kDenseSums ? 4 : 2;
  const Strided<Activation> tokens{x, x_stride};
  std::int64_t row = task.row_begin;
  for (; row + kRows <= task.row_end; row += kRows) {
    few_dense_rows<Element, kRows, kTokens>(task, row, tokens);
  }
  for (; row < task.row_end; ++row) few_dense_rows<Element, 1, kTokens>(task, row, tokens);
}

template <WeightFormat format, int kTokens, Fetch kFetch>
void few_tokens(const MatmulTask& task, const float* x, std::int64_t x_stride) {
  if constexpr (format == WeightFormat::kF32) {
    few_dense<float, kTokens>(task, x, x_stride);
  } else if constexpr (format == WeightFormat::kF16) {
    few_dense<Float16, kTokens>(task, x, x_stride);
  } else if constexpr (format == WeightFormat::kBF16) {
    few_dense<BFloat16, kTokens>(task, x, x_stride);
  } else if constexpr (format == WeightFormat::kW8) {
    few_w8<kTokens, kFetch>(task, x, x_stride);
  } else {
    few_packed<format == WeightFormat::kW4 ? 4 : 3, kTokens, kFetch>(task, x, x_stride);
  }
}

// The instance for the task's number of tokens, up to kFewTokens.
template <WeightFormat format, Fetch kFetch, int kTokens = kFewTokens>
void multiply_few(const MatmulTask& task, const float* x, std::int64_t x_stride) {
  if constexpr (kTokens > 0) {
    if (task.tokens == kTokens) return few_tokens<format, kTokens, kFetch>(task, x, x_stride);
    multiply_few<format, kFetch, kTokens - 1>(task, x, x_stride);
  }
}

}  // namespace
}  // namespace nibble
