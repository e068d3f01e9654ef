#include "nibble/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nibble/ops/profiler.h"
#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

// Fixed, so that sums are split at the same places whatever the number of threads.
constexpr std::int64_t kChunk = kAttentionMaxPositions;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// Running softmax state of some query rows: max (rows), sum (rows), acc (rows, head_dim).
struct State {
  float* max;
  float* sum;
  float* acc;

  static std::int64_t floats(std::int64_t rows, std::int64_t head_dim) {
    return rows * (2 + head_dim);
  }
  static State at(float* memory, std::int64_t rows) {
    return {memory, memory + rows, memory + 2 * rows};
  }
  void reset(std::int64_t rows, std::int64_t head_dim) const {
    std::fill_n(max, rows, kMinusInfinity);
    std::fill_n(sum, rows, 0.0f);
    std::fill_n(acc, rows * head_dim, 0.0f);
  }
};

/// Some consecutive tokens and query heads that share one KV head.
struct Tile {
  std::int64_t token;
  std::int64_t tokens;
  std::int64_t head;
  std::int64_t heads;
  std::int64_t rows() const { return tokens * heads; }
};

/// One call of attention(): everything its pieces of work share.
class Job {
 public:
  Job(Compute& compute, const AttentionShape& shape, const KvLayerView& cache, const float* q,
      std::int64_t start, std::int64_t tokens, float* out)
      : compute_(compute),
        shape_(shape),
        cache_(cache),
        q_(q),
        start_(start),
        tokens_(tokens),
        out_(out),
        group_(shape.n_heads / shape.n_kv_heads),
        heads_per_tile_(std::min(group_, kAttentionMaxRows)),
        head_tiles_(shape.n_kv_heads * ((group_ + heads_per_tile_ - 1) / heads_per_tile_)),
        tokens_per_tile_(std::min(tokens, kAttentionMaxRows / heads_per_tile_)) {}

  void run() {
    const std::int64_t positions = start_ + tokens_;
    if (tokens_ <= kFewRows && positions > kChunk) {
      run_split_by_position((positions + kChunk - 1) / kChunk);
    } else {
      run_split_by_token();
    }
  }

 private:
  /// Tile number `index` of tiles(): those of one KV head are neighbours, for the cache's sake.
  Tile tile(std::int64_t index) const {
    const std::int64_t tiles_per_group = head_tiles_ / shape_.n_kv_heads;
    const std::int64_t head_tile = index / token_tiles();
    const std::int64_t first = head_tile % tiles_per_group * heads_per_tile_;
    const std::int64_t token = index % token_tiles() * tokens_per_tile_;
    return {token, std::min(tokens_per_tile_, tokens_ - token),
            head_tile / tiles_per_group * group_ + first,
            std::min(heads_per_tile_, group_ - first)};
  }

  std::int64_t token_tiles() const { return (tokens_ + tokens_per_tile_ - 1) / tokens_per_tile_; }
  std::int64_t tiles() const { return token_tiles() * head_tiles_; }

  /// Each tile goes through the whole cache it sees.
  void run_split_by_token() {
    compute_.pool().parallel_for(tiles(), [&](std::int64_t item, int thread) {
      // Of each KV head the last tokens, which see most, come first: no thread is left with them
      // at the end.
      const Tile work = tile(tiles() - 1 - item);
      const std::int64_t state_floats = State::floats(work.rows(), shape_.head_dim);
      std::byte* scratch = thread_scratch(thread, state_floats);
      const State state =
          State::at(reinterpret_cast<float*>(scratch + kernel_scratch()), work.rows());
      state.reset(work.rows(), shape_.head_dim);
      const std::int64_t visible = start_ + work.token + work.tokens;
      for (std::int64_t position = 0; position < visible; position += kChunk) {
        attend(work, position, state, scratch);
      }
      finish(work, state);
    });
  }

  /// Each tile and chunk of the cache is a piece of work of its own; then chunks are combined in
  /// order.
  void run_split_by_position(std::int64_t chunks) {
    const std::int64_t per_state =
        State::floats(tokens_per_tile_ * heads_per_tile_, shape_.head_dim);
    float* partials = compute_.attention_partials().as<float>(
        static_cast<std::size_t>(tiles() * chunks * per_state));
    compute_.pool().parallel_for(tiles() * chunks, [&](std::int64_t item, int thread) {
      const Tile work = tile(item / chunks);
      const State state = State::at(partials + item * per_state, work.rows());
      state.reset(work.rows(), shape_.head_dim);
      attend(work, item % chunks * kChunk, state, thread_scratch(thread, 0));
    });
    compute_.pool().parallel_for(tiles(), [&](std::int64_t index, int) {
      const Tile work = tile(index);
      const State total = State::at(partials + index * chunks * per_state, work.rows());
      for (std::int64_t chunk = 1; chunk < chunks; ++chunk) {
        combine(State::at(partials + (index * chunks + chunk) * per_state, work.rows()),
                work.rows(), total);
      }
      finish(work, total);
    });
  }

  /// Takes the chunk of the cache at `position` into `state`.
  void attend(const Tile& work, std::int64_t position, const State& state, std::byte* scratch) {
    const std::int64_t kv_head = work.head / group_;
    const std::int64_t place = kv_head * cache_.capacity + position;
    const std::int64_t offset = place * shape_.head_dim * kv_element_bytes(cache_.type);
    const bool has_scales = cache_.type == KvType::kInt8;
    const AttentionTask task{
        .q = q_ + (work.token * shape_.n_heads + work.head) * shape_.head_dim,
        .q_stride = shape_.n_heads * shape_.head_dim,
        .tokens = work.tokens,
        .heads = work.heads,
        .head_dim = shape_.head_dim,
        .keys = cache_.keys + offset,
        .values = cache_.values + offset,
        .key_scales = has_scales ? cache_.key_scales + place : nullptr,
        .value_scales = has_scales ? cache_.value_scales + place : nullptr,
        .positions = std::min(kChunk, start_ + work.token + work.tokens - position),
        .visible = start_ + work.token + 1 - position,
        .scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)),
        .max = state.max,
        .sum = state.sum,
        .acc = state.acc,
        .scratch = scratch};
    if (task.positions <= 0) return;
    const KernelSet& kernels = compute_.kernels();
    switch (cache_.type) {
      case KvType::kF32:
        return kernels.attention_f32(task);
      case KvType::kBF16:
        return kernels.attention_bf16(task);
      case KvType::kInt8:
        return kernels.attention_int8(task);
    }
  }

  /// Adds the partial result `part` to `total` (Milakov & Gimelshein 2018, eq. 4).
  void combine(const State& part, std::int64_t rows, const State& total) const {
    for (std::int64_t row = 0; row < rows; ++row) {
      const float max = std::max(total.max[row], part.max[row]);
      if (max == kMinusInfinity) continue;  // neither saw a position
      const float keep = std::exp(total.max[row] - max);
      const float take = std::exp(part.max[row] - max);
      total.max[row] = max;
      total.sum[row] = keep * total.sum[row] + take * part.sum[row];
      float* acc = total.acc + row * shape_.head_dim;
      const float* other = part.acc + row * shape_.head_dim;
      for (std::int64_t d = 0; d < shape_.head_dim; ++d) acc[d] = keep * acc[d] + take * other[d];
    }
  }

  void finish(const Tile& work, const State& state) const {
    for (std::int64_t row = 0; row < work.rows(); ++row) {
      const std::int64_t token = work.token + row / work.heads;
      const std::int64_t head = work.head + row % work.heads;
      float* out = out_ + (token * shape_.n_heads + head) * shape_.head_dim;
      const float* acc = state.acc + row * shape_.head_dim;
      const float inverse = 1.0f / state.sum[row];
      for (std::int64_t d = 0; d < shape_.head_dim; ++d) out[d] = acc[d] * inverse;
    }
  }

  std::size_t kernel_scratch() const {
    return (compute_.kernels().attention_scratch_bytes(shape_.head_dim) + 63) / 64 * 64;
  }

  /// The kernel's scratch, with room for `floats` behind it.
  std::byte* thread_scratch(int thread, std::int64_t floats) const {
    return compute_.thread_scratch(
        thread, kernel_scratch() + static_cast<std::size_t>(floats) * sizeof(float));
  }

  Compute& compute_;
  const AttentionShape& shape_;
  const KvLayerView& cache_;
  const float* q_;
  std::int64_t start_;
  std::int64_t tokens_;
  float* out_;
  std::int64_t group_;  // query heads a KV head
  std::int64_t heads_per_tile_;
  std::int64_t head_tiles_;
  std::int64_t tokens_per_tile_;
};

/// Keys and values are read once for each tile of tokens; scores and weighted sums are 2 operations
/// an element each, for the positions that a token sees.
void report_cost(const Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
                 std::int64_t start, std::int64_t tokens) {
  if (compute.profiler() == nullptr) return;
  const auto seen = static_cast<double>(tokens * start + tokens * (tokens + 1) / 2);
  const auto heads = static_cast<double>(shape.n_heads * shape.head_dim);
  const std::int64_t scale_bytes = cache.type == KvType::kInt8 ? sizeof(float) : 0;
  const auto row = static_cast<double>(
      shape.n_kv_heads * (shape.head_dim * kv_element_bytes(cache.type) + scale_bytes));
  compute.profiler()->add_cost(2 * row * static_cast<double>(start + tokens), 4 * seen * heads);
}

}  // namespace

void attention(Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
               const float* q, std::int64_t start, std::int64_t tokens, float* out) {
  report_cost(compute, shape, cache, start, tokens);
  if (tokens > 0) Job(compute, shape, cache, q, start, tokens, out).run();
}

}  // namespace nibble
