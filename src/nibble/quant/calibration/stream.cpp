#include "nibble/quant/calibration/stream.h"

#include "nibble/models/rope_frequencies.h"

namespace nibble {
namespace {

Pass make_pass(const ModelSpec& spec) {
  return spec.rope ? Pass(Rope(rope_frequencies(*spec.rope, spec.head_dim))) : Pass();
}

}  // namespace

CalibrationStream::CalibrationStream(Compute& compute, const ModelSpec& spec,
                                     const CalibrationSize& size, bool is_exact,
                                     ActivationSpace& space)
    : compute_(compute),
      width_(spec.hidden),
      states_({size.samples, size.tokens, spec.hidden, is_exact}, space),
      cache_({.n_layers = 1,
              .n_kv_heads = spec.n_kv_heads,
              .head_dim = spec.head_dim,
              .capacity = size.tokens},
             is_exact ? KvType::kF32 : KvType::kBF16),
      pass_(make_pass(spec)) {
  cache_.require(size.tokens);
  pass_.begin();
  pass_.add(cache_, size.tokens);
}

void CalibrationStream::embed(Embedding& embedding,
                              const std::vector<std::vector<std::int32_t>>& ids) {
  for (std::int64_t sample = 0; sample < samples(); ++sample) {
    embedding.run(compute_, ids[static_cast<std::size_t>(sample)], pass_.positions(), hidden());
    store(sample);
  }
}

const float* CalibrationStream::normed(const Norm& norm) {
  auto* out = seen_.as<float>(static_cast<std::size_t>(tokens() * width_));
  norm.apply(compute_, hidden(), tokens(), out);
  return out;
}

const float* CalibrationStream::attention_input(const DecoderBlock& block) {
  return block.norm_first ? normed(block.input_norm) : hidden();
}

const float* CalibrationStream::attended(const DecoderBlock& block) {
  return block.attend(compute_, pass_, 0, hidden());
}

void CalibrationStream::add_attention(const DecoderBlock& block, const float* attended) {
  block.add_attention(compute_, attended, tokens(), hidden());
}

const float* CalibrationStream::run_attention(const DecoderBlock& block) {
  const float* seen = attended(block);
  add_attention(block, seen);
  return seen;
}

const float* CalibrationStream::mlp_input(const DecoderBlock& block) {
  return block.norm_first ? normed(block.post_norm) : hidden();
}

const float* CalibrationStream::mlp_inner(const DecoderBlock& block) {
  return block.mlp_inner(compute_, pass_, hidden());
}

void CalibrationStream::add_mlp(const DecoderBlock& block, const float* inner) {
  block.add_mlp(compute_, inner, tokens(), hidden());
}

const float* CalibrationStream::run_mlp(const DecoderBlock& block) {
  const float* seen = mlp_inner(block);
  add_mlp(block, seen);
  return seen;
}

const float* CalibrationStream::head_input(const Norm* norm) {
  return norm != nullptr ? normed(*norm) : hidden();
}

}  // namespace nibble
