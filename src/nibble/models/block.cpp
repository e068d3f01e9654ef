#include "nibble/models/block.h"

#include <optional>
#include <string>

#include "nibble/ops/profiler.h"

namespace nibble {
namespace {

class BlockLoader {
 public:
  BlockLoader(const WeightLoader& loader, std::int64_t layer)
      : loader_(loader), spec_(loader.spec()), layer_(layer) {}

  DecoderBlock load() const {
    return {.input_norm = *norm(spec_.input_norm, spec_.hidden),
            .attention = attention(),
            .post_norm = *norm(spec_.post_norm, spec_.hidden),
            .mlp = mlp(),
            .norm_first = spec_.norm_first};
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
    return loader_.norm(block_name(name, layer_), size);
  }

  const WeightLoader& loader_;
  const ModelSpec& spec_;
  std::int64_t layer_;
};

}  // namespace

DecoderBlock load_block(const WeightLoader& loader, std::int64_t layer) {
  return BlockLoader(loader, layer).load();
}

std::vector<const Linear*> DecoderBlock::linears() const {
  std::vector<const Linear*> all = {&attention.q, &attention.k, &attention.v, &attention.o};
  if (mlp.gate) all.push_back(&*mlp.gate);
  all.insert(all.end(), {&mlp.up, &mlp.down});
  return all;
}

Linear* DecoderBlock::linear(ModuleRole role) {
  switch (role) {
    case ModuleRole::kQ:
      return &attention.q;
    case ModuleRole::kK:
      return &attention.k;
    case ModuleRole::kV:
      return &attention.v;
    case ModuleRole::kO:
      return &attention.o;
    case ModuleRole::kGate:
      return mlp.gate ? &*mlp.gate : nullptr;
    case ModuleRole::kUp:
      return &mlp.up;
    case ModuleRole::kDown:
      return &mlp.down;
    default:
      return nullptr;
  }
}

Norm* DecoderBlock::norm(ModuleRole role) {
  switch (role) {
    case ModuleRole::kInputNorm:
      return &input_norm;
    case ModuleRole::kQNorm:
      return attention.q_norm ? &*attention.q_norm : nullptr;
    case ModuleRole::kKNorm:
      return attention.k_norm ? &*attention.k_norm : nullptr;
    case ModuleRole::kPostNorm:
      return &post_norm;
    default:
      return nullptr;
  }
}

namespace {

Linear view_of(const Linear& layer) {
  return {.weight = {.view = layer.weight.view, .storage = {}},
          .bias = layer.bias,
          .order = layer.order,
          .activations = layer.activations};
}

}  // namespace

DecoderBlock view_of(const DecoderBlock& block) {
  const SelfAttention& attention = block.attention;
  const Mlp& mlp = block.mlp;
  return {.input_norm = block.input_norm,
          .attention = {.q = view_of(attention.q),
                        .k = view_of(attention.k),
                        .v = view_of(attention.v),
                        .o = view_of(attention.o),
                        .q_norm = attention.q_norm,
                        .k_norm = attention.k_norm,
                        .shape = attention.shape},
          .post_norm = block.post_norm,
          .mlp = {.gate = mlp.gate ? std::optional(view_of(*mlp.gate)) : std::nullopt,
                  .up = view_of(mlp.up),
                  .down = view_of(mlp.down),
                  .activation = mlp.activation},
          .norm_first = block.norm_first};
}

void DecoderBlock::run(Compute& compute, Pass& pass, std::int64_t layer, float* hidden) const {
  run_attention(compute, pass, layer, hidden);
  run_mlp(compute, pass, hidden);
}

void DecoderBlock::run_attention(Compute& compute, Pass& pass, std::int64_t layer,
                                 float* hidden) const {
  const float* attended = attend(compute, pass, layer, hidden);
  add_attention(compute, attended, pass.rows(), hidden);
}

void DecoderBlock::run_mlp(Compute& compute, Pass& pass, float* hidden) const {
  const float* inner = mlp_inner(compute, pass, hidden);
  add_mlp(compute, inner, pass.rows(), hidden);
}

const float* DecoderBlock::attend(Compute& compute, Pass& pass, std::int64_t layer,
                                  const float* hidden) const {
  const RowNorm norm = input_norm.row_norm();
  return attention.attend(
      compute, {.x = hidden, .tokens = pass.rows(), .norm = norm_first ? &norm : nullptr}, pass,
      layer);
}

void DecoderBlock::add_attention(Compute& compute, const float* attended, std::int64_t rows,
                                 float* hidden) const {
  const ProfileScope scope(compute, "o");
  add_linear(compute, attention.o, {.x = attended, .tokens = rows}, hidden);
  if (!norm_first) input_norm.apply(compute, hidden, rows, hidden);
}

const float* DecoderBlock::mlp_inner(Compute& compute, Pass& pass, const float* hidden) const {
  const RowNorm norm = post_norm.row_norm();
  return mlp.inner(compute,
                   {.x = hidden, .tokens = pass.rows(), .norm = norm_first ? &norm : nullptr},
                   pass.scratch());
}

void DecoderBlock::add_mlp(Compute& compute, const float* inner, std::int64_t rows,
                           float* hidden) const {
  const ProfileScope scope(compute, "down");
  add_linear(compute, mlp.down, {.x = inner, .tokens = rows}, hidden);
  if (!norm_first) post_norm.apply(compute, hidden, rows, hidden);
}

}  // namespace nibble
