#include "nibble/models/decoder.h"

#include "nibble/core/stopwatch.h"
#include "nibble/models/rope_frequencies.h"
#include "nibble/ops/profiler.h"

namespace nibble {

Decoder::Decoder(const Checkpoint& checkpoint, Compute& compute, DType dtype,
                 std::optional<ActivationType> activations)
    : spec_(checkpoint.spec()),
      loader_(checkpoint, compute, dtype, activations),
      mover_(compute, checkpoint.tensors()),
      embedding_(loader_) {
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    blocks_.push_back(load_block(loader_, layer));
  }
  if (!spec_.final_norm.empty()) final_norm_ = loader_.norm(spec_.final_norm, spec_.hidden);
  if (spec_.project_out) project_out_ = loader_.linear(*spec_.project_out);
  head_ = loader_.linear(spec_.head);
  if (head_.weight.view.parts[kCodesPart] != embedding_.bytes().data()) {
    checkpoint.tensors().expect_scattered_reads(embedding_.bytes());
  }
  if (spec_.rope) pass_ = Pass(Rope(rope_frequencies(*spec_.rope, spec_.head_dim)));
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

void Decoder::begin_pass(std::span<const SequenceTokens> sequences) {
  for (const auto& [tokens, cache] : sequences) {
    cache->require(static_cast<std::int64_t>(tokens.size()));
  }
  pass_.begin();
  ids_.clear();
  for (const auto& [tokens, cache] : sequences) {
    pass_.add(*cache, static_cast<std::int64_t>(tokens.size()));
    ids_.insert(ids_.end(), tokens.begin(), tokens.end());
  }
}

void Decoder::forward(Compute& compute, std::span<const SequenceTokens> sequences, float* hidden) {
  mover_.move();
  const Stopwatch stopwatch;
  {
    const ProfileScope scope(compute, "embedding");
    begin_pass(sequences);
    embedding_.run(compute, ids_, pass_.positions(), hidden);
  }
  const std::int64_t rows = pass_.rows();
  Profiler* profiler = compute.profiler();
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    if (profiler != nullptr) profiler->set_layer(layer);
    blocks_[static_cast<std::size_t>(layer)].run(compute, pass_, layer, hidden);
  }
  if (profiler != nullptr) profiler->set_layer(-1);
  if (final_norm_) final_norm_->apply(compute, hidden, rows, hidden);
  pass_.finish();
  mover_.allow(stopwatch.seconds());
}

void Decoder::forward(Compute& compute, std::span<const std::int32_t> tokens, KvCache& cache,
                      float* hidden) {
  const SequenceTokens sequence{tokens, &cache};
  forward(compute, {&sequence, 1}, hidden);
}

void Decoder::logits(Compute& compute, const float* hidden, std::int64_t rows, float* out) {
  const ProfileScope scope(compute, "head");
  if (project_out_) {
    float* projected = projected_.as<float>(static_cast<std::size_t>(rows * spec_.embedding_width));
    apply_linear(compute, *project_out_, {.x = hidden, .tokens = rows}, projected);
    hidden = projected;
  }
  apply_linear(compute, head_, {.x = hidden, .tokens = rows}, out);
}

ActivationType Decoder::activations() const {
  for (const DecoderBlock& block : blocks_) {
    for (const Linear* layer : block.linears()) {
      if (is_int8(layer->activations)) return layer->activations;
    }
  }
  return head_.activations;
}

}  // namespace nibble
