#include "nibble/models/decoder.h"

#include "nibble/core/stopwatch.h"
#include "nibble/models/rope_frequencies.h"
#include "nibble/ops/profiler.h"
#include "nibble/weights/packed_group.h"

namespace nibble {

Decoder::Decoder(const Checkpoint& checkpoint, Compute& compute, DType dtype)
    : spec_(checkpoint.spec()),
      loader_(checkpoint, compute, dtype),
      mover_(compute, checkpoint.tensors()),
      embedding_(loader_) {
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    blocks_.push_back(load_block(loader_, layer));
  }
  if (!spec_.final_norm.empty()) final_norm_ = loader_.norm({spec_.final_norm, spec_.hidden});
  if (spec_.project_out) project_out_ = loader_.linear(*spec_.project_out);
  head_ = loader_.linear(spec_.head);
  if (spec_.rope) rope_ = Rope(rope_frequencies(*spec_.rope, spec_.head_dim));
  plan_moves();
  if (compute.pool().nodes() > 1) mover_.move_all();
}

/// In the order in which a pass reads them.
void Decoder::plan_moves() {
  for (DecoderBlock& block : blocks_) {
    mover_.add({&block.attention.q, &block.attention.k, &block.attention.v});
    mover_.add({&block.attention.o});
    if (block.mlp.gate) mover_.add({&*block.mlp.gate});
    mover_.add({&block.mlp.up});
    mover_.add({&block.mlp.down});
  }
  if (project_out_) mover_.add({&*project_out_});
  mover_.add({&head_});
}

void Decoder::forward(Compute& compute, std::span<const std::int32_t> tokens, KvCache& cache,
                      float* hidden) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  mover_.move();
  const Stopwatch stopwatch;
  {
    const ProfileScope scope(compute, "embedding");
    embedding_.run(compute, tokens, cache.length(), hidden);
    rope_.prepare(cache.length(), count);
  }
  const BlockPass pass{.tokens = count, .rope = rope_, .cache = cache, .scratch = scratch_};
  Profiler* profiler = compute.profiler();
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    if (profiler != nullptr) profiler->set_layer(layer);
    blocks_[static_cast<std::size_t>(layer)].run(compute, pass, layer, hidden);
  }
  if (profiler != nullptr) profiler->set_layer(-1);
  if (final_norm_) final_norm_->apply(compute, hidden, count, hidden);
  cache.advance(count);
  mover_.allow(stopwatch.seconds());
}

void Decoder::logits(Compute& compute, const float* hidden, std::int64_t rows, float* out) {
  const ProfileScope scope(compute, "head");
  if (project_out_) {
    float* projected = projected_.as<float>(static_cast<std::size_t>(rows * spec_.embedding_width));
    apply_linear(compute, *project_out_, {.x = hidden, .tokens = rows}, projected);
    hidden = projected;
  }
  // Its input's rounding would go straight into the logits.
  apply_linear(compute, head_, {.x = hidden, .tokens = rows, .never_int8 = true}, out);
}

double Decoder::weights_per_token() const {
  double weights = 0;
  for (const LinearSpec& linear : spec_.linears()) {
    weights += static_cast<double>(linear.out) * static_cast<double>(linear.in);
  }
  return weights;
}

double Decoder::bytes_per_token() const {
  double bytes = 0;
  const auto add = [&](const Linear& layer) {
    bytes += bits_per_weight(layer.weight.view) / 8 * static_cast<double>(layer.out_features()) *
             static_cast<double>(layer.weight.view.cols);
  };
  for (const DecoderBlock& block : blocks_) {
    for (const Linear* layer : block.linears()) add(*layer);
  }
  if (const auto* projection = embedding_.projection()) add(*projection);
  if (project_out_) add(*project_out_);
  add(head_);
  return bytes;
}

}  // namespace nibble
