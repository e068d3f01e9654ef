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
    const std::int64_t end = start_ + tokens_;
    if (tokens_ <= kFewRows && end - first_seen(0) > kChunk) {
      const std::int64_t first = chunk_of(first_seen(0));
      run_split_by_position(first, chunk_of(end - 1) + 1 - first);
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

  /// The first position that token `token` sees.
  std::int64_t first_seen(std::int64_t token) const {
    if (shape_.window == 0) return 0;
    return std::max<std::int64_t>(0, start_ + token + 1 - shape_.window);
  }
  static std::int64_t chunk_of(std::int64_t position) { return position / kChunk; }

  std::int64_t token_tiles() const { return (tokens_ + tokens_per_tile_ - 1) / tokens_per_tile_; }
  std::int64_t tiles() const { return token_tiles() * head_tiles_; }

  /// Each tile goes through all of the cache that it sees.
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
      const std::int64_t last = chunk_of(start_ + work.token + work.tokens - 1);
      for (std::int64_t chunk = chunk_of(first_seen(work.token)); chunk <= last; ++chunk) {
        attend(work, chunk, state, scratch);
      }
      finish(work, state);
    });
  }

  /// Each tile and chunk of the cache, `chunks` from `first` on, is a piece of work of its own;
  /// then chunks are combined in order.
  void run_split_by_position(std::int64_t first, std::int64_t chunks) {
    const std::int64_t per_state =
        State::floats(tokens_per_tile_ * heads_per_tile_, shape_.head_dim);
    float* partials = compute_.attention_partials().as<float>(
        static_cast<std::size_t>(tiles() * chunks * per_state));
    compute_.pool().parallel_for(tiles() * chunks, [&](std::int64_t item, int thread) {
      const Tile work = tile(item / chunks);
      const State state = State::at(partials + item * per_state, work.rows());
      state.reset(work.rows(), shape_.head_dim);
      attend(work, first + item % chunks, state, thread_scratch(thread, 0));
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

  /// Takes what the tile sees of a chunk of the cache into `state`.
  void attend(const Tile& work, std::int64_t chunk, const State& state, std::byte* scratch) {
    const std::int64_t position = std::max(chunk * kChunk, first_seen(work.token));
    const std::int64_t end = std::min((chunk + 1) * kChunk, start_ + work.token + work.tokens);
    if (position >= end) return;
    const std::int64_t kv_head = work.head / group_;
    const std::int64_t place = kv_head * cache_.capacity + position;
    const std::int64_t offset = place * shape_.head_dim * kv_element_bytes(cache_.type);
    const bool has_scales = cache_.type == KvType::kInt8;
    AttentionTask task{.q = q_ + (work.token * shape_.n_heads + work.head) * shape_.head_dim,
                       .q_stride = shape_.n_heads * shape_.head_dim,
                       .tokens = work.tokens,
                       .heads = work.heads,
                       .head_dim = shape_.head_dim,
                       .keys = cache_.keys + offset,
                       .values = cache_.values + offset,
                       .key_scales = has_scales ? cache_.key_scales + place : nullptr,
                       .value_scales = has_scales ? cache_.value_scales + place : nullptr,
                       .positions = end - position,
                       .visible = start_ + work.token + 1 - position,
                       .scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)),
                       .max = state.max,
                       .sum = state.sum,
                       .acc = state.acc,
                       .scratch = scratch};
    if (shape_.window > 0) task.passed = task.visible - shape_.window;
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
  std::int64_t seen = 0;
  for (std::int64_t position = start; position < start + tokens; ++position) {
    seen += shape.window > 0 ? std::min(shape.window, position + 1) : position + 1;
  }
  const std::int64_t first =
      shape.window > 0 ? std::max<std::int64_t>(0, start + 1 - shape.window) : 0;
  const auto heads = static_cast<double>(shape.n_heads * shape.head_dim);
  const std::int64_t scale_bytes = cache.type == KvType::kInt8 ? sizeof(float) : 0;
  const auto row = static_cast<double>(
      shape.n_kv_heads * (shape.head_dim * kv_element_bytes(cache.type) + scale_bytes));
  compute.profiler()->add_cost(2 * row * static_cast<double>(start + tokens - first),
                               4 * static_cast<double>(seen) * heads);
}

}  // namespace

void attention(Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
               const float* q, std::int64_t start, std::int64_t tokens, float* out) {
  report_cost(compute, shape, cache, start, tokens);
  if (tokens > 0) Job(compute, shape, cache, q, start, tokens, out).run();
}

}  // namespace nibble
