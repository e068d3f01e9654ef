#include "nibble/models/decoder.h"

#include <cassert>
#include <cmath>
#include <initializer_list>

#include "nibble/models/weight_loader.h"
#include "nibble/ops/profiler.h"
#include "nibble/weights/packed_group.h"

namespace nibble {
namespace {

RmsNorm load_norm(const WeightLoader& loader, const std::string& module, const ModelSpec& spec) {
  return {loader.vector(module + ".weight", spec.hidden), spec.norm_eps};
}

DecoderBlock load_block(const WeightLoader& loader, const ModelSpec& spec, std::int64_t layer) {
  const auto linear = [&](LinearSpec linear_spec) {
    linear_spec.name = block_name(linear_spec.name, layer);
    return loader.linear(linear_spec);
  };
  return {.input_norm = load_norm(loader, block_name(spec.input_norm, layer), spec),
          .attention = {.q = linear(spec.q),
                        .k = linear(spec.k),
                        .v = linear(spec.v),
                        .o = linear(spec.o),
                        .shape = {spec.n_heads, spec.n_kv_heads, spec.head_dim}},
          .post_norm = load_norm(loader, block_name(spec.post_norm, layer), spec),
          .mlp = {.gate = linear(spec.gate), .up = linear(spec.up), .down = linear(spec.down)}};
}

/// llama3 scaling (transformers, modeling_rope_utils.py: _compute_llama3_parameters): long
/// wavelengths are stretched by the factor, short ones kept, those between blended.
float scale_llama3(const RopeSpec& rope, float frequency) {
  const double wavelength = 2 * M_PI / frequency;
  const double turns = rope.original_context / wavelength;
  if (turns < rope.low_freq_factor) return static_cast<float>(frequency / rope.factor);
  if (turns > rope.high_freq_factor) return frequency;
  const double smooth =
      (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return static_cast<float>((1 - smooth) * frequency / rope.factor + smooth * frequency);
}

}  // namespace

std::vector<float> rope_frequencies(const RopeSpec& rope, std::int64_t head_dim) {
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    auto frequency = static_cast<float>(1.0 / std::pow(rope.theta, exponent));
    if (rope.scaling == RopeSpec::Scaling::kLinear) {
      frequency = static_cast<float>(frequency / rope.factor);
    } else if (rope.scaling == RopeSpec::Scaling::kLlama3) {
      frequency = scale_llama3(rope, frequency);
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

Decoder::Decoder(const Checkpoint& checkpoint, Compute& compute, DType dtype)
    : spec_(checkpoint.spec()), dtype_(dtype), loader_(checkpoint, compute, dtype) {
  embedding_ = checkpoint.float_tensor(spec_.embedding + ".weight", {spec_.vocab, spec_.hidden});
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    blocks_.push_back(load_block(loader_, spec_, layer));
  }
  final_norm_ = load_norm(loader_, spec_.final_norm, spec_);
  head_ = loader_.linear(spec_.head);
  rope_ = Rope(rope_frequencies(spec_.rope, spec_.head_dim));
  while (compute.pool().nodes() > 1 && !is_settled()) place_next();
}

void Decoder::place_next() {
  const auto place = [this](std::initializer_list<Linear*> together) {
    loader_.place({together.begin(), together.size()});
  };
  if (placed_ < blocks_.size()) {
    DecoderBlock& block = blocks_[placed_];
    place({&block.attention.q, &block.attention.k, &block.attention.v});
    place({&block.attention.o});
    place({&block.mlp.gate});
    place({&block.mlp.up});
    place({&block.mlp.down});
  } else {
    place({&head_});
  }
  ++placed_;
}

void Decoder::embed(std::span<const std::int32_t> tokens, float* out) const {
  for (const std::int32_t token : tokens) {
    assert(token >= 0 && token < spec_.vocab);
    read_rows(embedding_, token, 1, out);
    round_to_dtype(dtype_, {out, static_cast<std::size_t>(spec_.hidden)});
    out += spec_.hidden;
  }
}

void Decoder::forward(Compute& compute, std::span<const std::int32_t> tokens, KvCache& cache,
                      float* hidden) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const auto elements = static_cast<std::size_t>(count * spec_.hidden);
  float* normed = normed_.as<float>(elements);
  if (count == 1 && !is_settled()) place_next();
  {
    const ProfileScope scope(compute, "embedding");
    embed(tokens, hidden);
    rope_.prepare(cache.length(), count);
  }
  Profiler* profiler = compute.profiler();
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    if (profiler != nullptr) profiler->set_layer(layer);
    const DecoderBlock& block = blocks_[static_cast<std::size_t>(layer)];
    block.input_norm.apply(compute, hidden, count, normed);
    block.attention.add_to(compute, normed, count, rope_, cache, layer, scratch_, hidden);
    block.post_norm.apply(compute, hidden, count, normed);
    block.mlp.add_to(compute, normed, count, scratch_, hidden);
  }
  if (profiler != nullptr) profiler->set_layer(-1);
  final_norm_.apply(compute, hidden, count, hidden);
  cache.advance(count);
}

void Decoder::logits(Compute& compute, const float* hidden, std::int64_t rows, float* out) const {
  const ProfileScope scope(compute, "head");
  apply_linear(compute, head_, hidden, rows, out);
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
             static_cast<double>(layer.in_features());
  };
  for (const DecoderBlock& block : blocks_) {
    for (const Linear* layer :
         {&block.attention.q, &block.attention.k, &block.attention.v, &block.attention.o,
          &block.mlp.gate, &block.mlp.up, &block.mlp.down}) {
      add(*layer);
    }
  }
  add(head_);
  return bytes;
}

}  // namespace nibble
