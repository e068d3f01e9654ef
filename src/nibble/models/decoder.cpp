#include "nibble/models/decoder.h"

#include <cassert>
#include <cmath>
#include <initializer_list>

#include "nibble/models/weight_loader.h"
#include "nibble/ops/profiler.h"
#include "nibble/weights/dense_weights.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

Norm load_norm(const WeightLoader& loader, const ModelSpec& spec, const NormModule& module) {
  const auto n = static_cast<std::size_t>(module.size);
  Norm norm{.kind = spec.norm.kind, .weight = std::vector<float>(n, 1.0f), .eps = spec.norm.eps};
  if (spec.norm.has_weight) norm.weight = loader.vector(module.name + ".weight", module.size);
  for (float& weight : norm.weight) weight += spec.norm.weight_offset;
  if (norm.kind == NormKind::kLayer) norm.bias.resize(n);
  if (spec.norm.has_bias) norm.bias = loader.vector(module.name + ".bias", module.size);
  return norm;
}

/// Loads what belongs to one decoder block.
class BlockLoader {
 public:
  BlockLoader(const WeightLoader& loader, const ModelSpec& spec, std::int64_t layer)
      : loader_(loader), spec_(spec), layer_(layer) {}

  DecoderBlock load() const {
    return {.input_norm = *norm(spec_.input_norm, spec_.hidden),
            .attention = attention(),
            .post_norm = *norm(spec_.post_norm, spec_.hidden),
            .mlp = mlp()};
  }

 private:
  SelfAttention attention() const {
    return {.q = linear(spec_.q),
            .k = linear(spec_.k),
            .v = linear(spec_.v),
            .o = linear(spec_.o),
            .q_norm = norm(spec_.q_norm, spec_.head_dim),
            .k_norm = norm(spec_.k_norm, spec_.head_dim),
            .shape = {spec_.n_heads, spec_.n_kv_heads, spec_.head_dim, spec_.window(layer_)}};
  }
  Mlp mlp() const {
    return {.gate = spec_.gate ? std::optional(linear(*spec_.gate)) : std::nullopt,
            .up = linear(spec_.up),
            .down = linear(spec_.down),
            .activation = spec_.activation};
  }
  Linear linear(LinearSpec linear_spec) const {
    linear_spec.name = block_name(linear_spec.name, layer_);
    return loader_.linear(linear_spec);
  }
  std::optional<Norm> norm(const std::string& name, std::int64_t size) const {
    if (name.empty()) return std::nullopt;
    return load_norm(loader_, spec_, {block_name(name, layer_), size});
  }

  const WeightLoader& loader_;
  const ModelSpec& spec_;
  std::int64_t layer_;
};

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
    } else if (rope.scaling == RopeSpec::Scaling::kFactors) {
      frequency /= rope.factors[static_cast<std::size_t>(i)];
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

Decoder::Decoder(const Checkpoint& checkpoint, Compute& compute, DType dtype)
    : spec_(checkpoint.spec()), dtype_(dtype), loader_(checkpoint, compute, dtype) {
  const std::vector<ParameterSpec> tables = spec_.embeddings();
  embedding_ = checkpoint.float_tensor(tables[0].name, tables[0].shape);
  if (spec_.positions) positions_ = checkpoint.float_tensor(tables[1].name, tables[1].shape);
  embedding_scale_ = spec_.embedding_scale;
  round_to_dtype(dtype, {&embedding_scale_, 1});
  if (spec_.project_in) project_in_ = loader_.linear(*spec_.project_in);
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    blocks_.push_back(BlockLoader(loader_, spec_, layer).load());
  }
  if (!spec_.final_norm.empty()) {
    final_norm_ = load_norm(loader_, spec_, {spec_.final_norm, spec_.hidden});
  }
  if (spec_.project_out) project_out_ = loader_.linear(*spec_.project_out);
  head_ = loader_.linear(spec_.head);
  if (spec_.rope) rope_ = Rope(rope_frequencies(*spec_.rope, spec_.head_dim));
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
    if (block.mlp.gate) place({&*block.mlp.gate});
    place({&block.mlp.up});
    place({&block.mlp.down});
  } else {
    place({&head_});
  }
  ++placed_;
}

void Decoder::embed(Compute& compute, std::span<const std::int32_t> tokens, std::int64_t start,
                    float* out) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const auto width = static_cast<std::size_t>(spec_.embedding_width);
  float* rows = project_in_ ? projected_.as<float>(tokens.size() * width) : out;
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    assert(tokens[t] >= 0 && tokens[t] < spec_.vocab);
    const std::span row(rows + t * width, width);
    read_rows(embedding_, tokens[t], 1, row.data());
    round_to_dtype(dtype_, row);
    if (embedding_scale_ == 1.0f) continue;
    for (float& value : row) value *= embedding_scale_;
  }
  if (project_in_) apply_linear(compute, *project_in_, {.x = rows, .tokens = count}, out);
  if (spec_.positions) add_positions(compute, start, count, out);
}

void Decoder::add_positions(Compute& compute, std::int64_t start, std::int64_t tokens, float* out) {
  const std::int64_t first = start + spec_.positions->offset;
  assert(first + tokens <= spec_.positions->rows);
  const auto elements = static_cast<std::size_t>(tokens * spec_.hidden);
  float* rows = position_rows_.as<float>(elements);
  read_rows(positions_, first, tokens, rows);
  round_to_dtype(dtype_, {rows, elements});
  compute.kernels().add(out, rows, tokens * spec_.hidden);
}

void Decoder::run_block(Compute& compute, std::int64_t layer, std::int64_t tokens, KvCache& cache,
                        float* hidden) {
  const DecoderBlock& block = blocks_[static_cast<std::size_t>(layer)];
  if (spec_.norm_first) {
    const RowNorm input_norm = block.input_norm.row_norm();
    block.attention.add_to(compute, {.x = hidden, .tokens = tokens, .norm = &input_norm}, rope_,
                           cache, layer, scratch_, hidden);
    const RowNorm post_norm = block.post_norm.row_norm();
    block.mlp.add_to(compute, {.x = hidden, .tokens = tokens, .norm = &post_norm}, scratch_,
                     hidden);
  } else {
    block.attention.add_to(compute, {.x = hidden, .tokens = tokens}, rope_, cache, layer, scratch_,
                           hidden);
    block.input_norm.apply(compute, hidden, tokens, hidden);
    block.mlp.add_to(compute, {.x = hidden, .tokens = tokens}, scratch_, hidden);
    block.post_norm.apply(compute, hidden, tokens, hidden);
  }
}

void Decoder::forward(Compute& compute, std::span<const std::int32_t> tokens, KvCache& cache,
                      float* hidden) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count == 1 && !is_settled()) place_next();
  {
    const ProfileScope scope(compute, "embedding");
    embed(compute, tokens, cache.length(), hidden);
    rope_.prepare(cache.length(), count);
  }
  Profiler* profiler = compute.profiler();
  for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
    if (profiler != nullptr) profiler->set_layer(layer);
    run_block(compute, layer, count, cache, hidden);
  }
  if (profiler != nullptr) profiler->set_layer(-1);
  if (final_norm_) final_norm_->apply(compute, hidden, count, hidden);
  cache.advance(count);
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
    for (const Linear* layer : {&block.attention.q, &block.attention.k, &block.attention.v,
                                &block.attention.o, &block.mlp.up, &block.mlp.down}) {
      add(*layer);
    }
    if (block.mlp.gate) add(*block.mlp.gate);
  }
  if (project_in_) add(*project_in_);
  if (project_out_) add(*project_out_);
  add(head_);
  return bytes;
}

}  // namespace nibble
