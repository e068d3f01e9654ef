#include "nibble/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "nibble/ops/plain_attention.h"
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

/// The new tokens of one sequence as pieces of work: tiles that go through all of the cache that
/// they see; or, for a few tokens over a long cache, a tile and a chunk of the cache each, whose
/// results are combined in order afterwards.
struct SequenceWork {
  KvSequence sequence;
  std::int64_t window;
  std::int64_t tokens_per_tile = 0;
  std::int64_t tiles = 0;
  std::int64_t first_chunk = 0;  // of those that are pieces of work
  std::int64_t chunks = 0;       // none: all of them are one
  // Where it begins among all sequences':
  std::int64_t first_row = 0;      // of queries and output
  std::int64_t first_item = 0;     // pieces of work
  std::int64_t first_tile = 0;     // tiles to be combined
  std::int64_t first_partial = 0;  // floats of partial results

  std::int64_t end() const { return sequence.start + sequence.tokens; }
  std::int64_t token_tiles() const {
    return (sequence.tokens + tokens_per_tile - 1) / tokens_per_tile;
  }
  std::int64_t items() const { return chunks == 0 ? tiles : tiles * chunks; }
  /// The first position that a token sees.
  std::int64_t first_seen(std::int64_t token) const {
    if (window == 0) return 0;
    return std::max<std::int64_t>(0, sequence.start + token + 1 - window);
  }
};

std::int64_t chunk_of(std::int64_t position) {
  return position / kChunk;
}

/// One call of attention(): everything its pieces of work share.
class Job {
 public:
  Job(Compute& compute, const AttentionShape& shape, const KvLayerView& cache, const float* q,
      float* out)
      : compute_(compute),
        shape_(shape),
        cache_(cache),
        q_(q),
        out_(out),
        group_(shape.n_heads / shape.n_kv_heads),
        heads_per_tile_(std::min(group_, kAttentionMaxRows)),
        head_tiles_(shape.n_kv_heads * ((group_ + heads_per_tile_ - 1) / heads_per_tile_)) {
    plan();
  }

  void run() {
    compute_.pool().parallel_for(items_, [&](std::int64_t item, int thread) {
      const SequenceWork& work = find(&SequenceWork::first_item, item);
      if (work.chunks == 0) {
        attend_all(work, item - work.first_item, thread);
      } else {
        attend_chunk(work, item - work.first_item, thread);
      }
    });
    compute_.pool().parallel_for(tiles_to_combine_, [&](std::int64_t index, int) {
      const SequenceWork& work = find(&SequenceWork::first_tile, index);
      combine_chunks(work, index - work.first_tile);
    });
  }

 private:
  void plan() {
    const std::size_t count = cache_.sequences.size();
    auto* works = compute_.attention_work().as<SequenceWork>(count);
    works_ = {works, count};
    std::int64_t rows = 0;
    std::int64_t partials = 0;
    for (std::size_t i = 0; i < count; ++i) {
      SequenceWork& work = works[i] = cut(cache_.sequences[i]);
      work.first_row = rows;
      work.first_item = items_;
      work.first_tile = tiles_to_combine_;
      work.first_partial = partials;
      rows += work.sequence.tokens;
      items_ += work.items();
      if (work.chunks == 0) continue;
      tiles_to_combine_ += work.tiles;
      partials += work.items() * state_floats(work);
    }
    partials_ = compute_.attention_partials().as<float>(static_cast<std::size_t>(partials));
  }

  SequenceWork cut(const KvSequence& sequence) const {
    SequenceWork work{.sequence = sequence, .window = shape_.window};
    if (sequence.tokens == 0) return work;
    work.tokens_per_tile = std::min(sequence.tokens, kAttentionMaxRows / heads_per_tile_);
    work.tiles = work.token_tiles() * head_tiles_;
    if (sequence.tokens <= kFewRows && work.end() - work.first_seen(0) > kChunk) {
      work.first_chunk = chunk_of(work.first_seen(0));
      work.chunks = chunk_of(work.end() - 1) + 1 - work.first_chunk;
    }
    return work;
  }

  /// The sequence that has the `index`-th of all that `first` counts: the last that begins there or
  /// before, those that have none beginning where the next does.
  const SequenceWork& find(std::int64_t SequenceWork::*first, std::int64_t index) const {
    const auto begins_past = [first](std::int64_t i, const SequenceWork& work) {
      return i < work.*first;
    };
    return *std::prev(std::upper_bound(works_.begin(), works_.end(), index, begins_past));
  }

  /// Tile number `index` of a sequence: those of one KV head are neighbours, for the cache's sake.
  Tile tile(const SequenceWork& work, std::int64_t index) const {
    const std::int64_t tiles_per_group = head_tiles_ / shape_.n_kv_heads;
    const std::int64_t head_tile = index / work.token_tiles();
    const std::int64_t first = head_tile % tiles_per_group * heads_per_tile_;
    const std::int64_t token = index % work.token_tiles() * work.tokens_per_tile;
    return {token, std::min(work.tokens_per_tile, work.sequence.tokens - token),
            head_tile / tiles_per_group * group_ + first,
            std::min(heads_per_tile_, group_ - first)};
  }

  /// A tile goes through all of the cache that it sees.
  void attend_all(const SequenceWork& work, std::int64_t index, int thread) const {
    // Of each KV head the last tokens, which see most, come first: no thread is left with them at
    // the end.
    const Tile tile = this->tile(work, work.tiles - 1 - index);
    std::byte* scratch = thread_scratch(thread, State::floats(tile.rows(), shape_.head_dim));
    const State state =
        State::at(reinterpret_cast<float*>(scratch + kernel_scratch()), tile.rows());
    state.reset(tile.rows(), shape_.head_dim);
    const std::int64_t last = chunk_of(work.sequence.start + tile.token + tile.tokens - 1);
    for (std::int64_t chunk = chunk_of(work.first_seen(tile.token)); chunk <= last; ++chunk) {
      attend(work, tile, chunk, {state, scratch});
    }
    finish(work, tile, state);
  }

  /// A tile and one chunk.
  void attend_chunk(const SequenceWork& work, std::int64_t index, int thread) const {
    const Tile tile = this->tile(work, index / work.chunks);
    const State state = partial(work, index, tile);
    state.reset(tile.rows(), shape_.head_dim);
    attend(work, tile, work.first_chunk + index % work.chunks, {state, thread_scratch(thread, 0)});
  }

  void combine_chunks(const SequenceWork& work, std::int64_t index) const {
    const Tile tile = this->tile(work, index);
    const State total = partial(work, index * work.chunks, tile);
    for (std::int64_t chunk = 1; chunk < work.chunks; ++chunk) {
      combine(partial(work, index * work.chunks + chunk, tile), tile.rows(), total);
    }
    finish(work, tile, total);
  }

  std::int64_t state_floats(const SequenceWork& work) const {
    return State::floats(work.tokens_per_tile * heads_per_tile_, shape_.head_dim);
  }
  State partial(const SequenceWork& work, std::int64_t index, const Tile& tile) const {
    return State::at(partials_ + work.first_partial + index * state_floats(work), tile.rows());
  }

  /// What a kernel writes to.
  struct Target {
    State state;
    std::byte* scratch;
  };

  /// Takes what the tile sees of a chunk of the cache into the target's state.
  void attend(const SequenceWork& work, const Tile& tile, std::int64_t chunk,
              const Target& target) const {
    const std::int64_t start = work.sequence.start;
    const std::int64_t position = std::max(chunk * kChunk, work.first_seen(tile.token));
    const std::int64_t end = std::min((chunk + 1) * kChunk, start + tile.token + tile.tokens);
    if (position >= end) return;
    const std::int64_t head_row = tile.head / group_ * kKvPagePositions;
    const std::int64_t row = head_row + position % kKvPagePositions;
    const std::int64_t row_bytes = shape_.head_dim * kv_element_bytes(cache_.type);
    const std::byte* page = work.sequence.pages[static_cast<std::size_t>(chunk)].data();
    AttentionTask task{
        .q = q_ + ((work.first_row + tile.token) * shape_.n_heads + tile.head) * shape_.head_dim,
        .q_stride = shape_.n_heads * shape_.head_dim,
        .tokens = tile.tokens,
        .heads = tile.heads,
        .head_dim = shape_.head_dim,
        .keys = page + cache_.keys + row * row_bytes,
        .values = page + cache_.values + row * row_bytes,
        .key_scales = reinterpret_cast<const float*>(page + cache_.key_scales) + row,
        .value_scales = reinterpret_cast<const float*>(page + cache_.value_scales) + row,
        .positions = end - position,
        .visible = start + tile.token + 1 - position,
        .scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)),
        .max = target.state.max,
        .sum = target.state.sum,
        .acc = target.state.acc,
        .scratch = target.scratch};
    if (shape_.window > 0) task.passed = task.visible - shape_.window;
    if ((chunk + 1) * kChunk < work.end()) {
      const std::byte* next = work.sequence.pages[static_cast<std::size_t>(chunk + 1)].data();
      task.next_keys = next + cache_.keys + head_row * row_bytes;
      task.next_values = next + cache_.values + head_row * row_bytes;
    }
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

  void finish(const SequenceWork& work, const Tile& tile, const State& state) const {
    for (std::int64_t row = 0; row < tile.rows(); ++row) {
      const std::int64_t token = work.first_row + tile.token + row / tile.heads;
      const std::int64_t head = tile.head + row % tile.heads;
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
  float* out_;
  std::int64_t group_;  // query heads a KV head
  std::int64_t heads_per_tile_;
  std::int64_t head_tiles_;
  std::span<const SequenceWork> works_;
  std::int64_t items_ = 0;
  std::int64_t tiles_to_combine_ = 0;
  float* partials_ = nullptr;
};

/// Keys and values are read once for each tile of tokens; scores and weighted sums are 2 operations
/// an element each, for the positions that a token sees.
void report_cost(const Compute& compute, const AttentionShape& shape, const KvLayerView& cache) {
  if (compute.profiler() == nullptr) return;
  std::int64_t read = 0;
  std::int64_t seen = 0;
  for (const KvSequence& sequence : cache.sequences) {
    const std::int64_t end = sequence.start + sequence.tokens;
    const std::int64_t first =
        shape.window > 0 ? std::max<std::int64_t>(0, sequence.start + 1 - shape.window) : 0;
    read += end - first;
    for (std::int64_t position = sequence.start; position < end; ++position) {
      seen += shape.window > 0 ? std::min(shape.window, position + 1) : position + 1;
    }
  }
  const auto heads = static_cast<double>(shape.n_heads * shape.head_dim);
  const std::int64_t scale_bytes = cache.type == KvType::kInt8 ? sizeof(float) : 0;
  const auto row = static_cast<double>(
      shape.n_kv_heads * (shape.head_dim * kv_element_bytes(cache.type) + scale_bytes));
  compute.profiler()->add_cost(2 * row * static_cast<double>(read),
                               4 * static_cast<double>(seen) * heads);
}

}  // namespace

void attention(Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
               const float* q, float* out) {
  report_cost(compute, shape, cache);
  if (!compute.fusion().has(Fusion::kAttention)) {
    return plain_attention(compute, shape, cache, q, out);
  }
  Job(compute, shape, cache, q, out).run();
}

}  // namespace nibble
