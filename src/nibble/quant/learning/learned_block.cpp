#include "nibble/quant/learning/learned_block.h"

#include <algorithm>
#include <utility>

#include "nibble/ops/rowwise.h"
#include "nibble/quant/learning/activation_gradient.h"
#include "nibble/quant/learning/attention_gradient.h"

namespace nibble {
namespace {

Matrix<float> copy_of(const float* x, std::int64_t rows, std::int64_t cols) {
  Matrix<float> out(rows, cols);
  std::copy_n(x, rows * cols, out.data());
  return out;
}

/// Rotates heads by the angles of their positions, or back.
void rotate(Compute& compute, const Rope& rope, Matrix<float>& x, std::int64_t head_dim,
            bool is_back) {
  if (rope.half() == 0) return;
  for_each_row(compute, x.rows(), [&](std::int64_t t) {
    std::vector<float> sin(rope.sin(t), rope.sin(t) + rope.half());
    if (is_back) {
      for (float& value : sin) value = -value;
    }
    compute.kernels().rope(x.row(t), rope.cos(t), sin.data(), x.cols() / head_dim, head_dim);
  });
}

std::optional<LearnedNorm> learned(std::optional<Norm>& norm, float offset) {
  if (!norm) return std::nullopt;
  return LearnedNorm(*norm, offset);
}

}  // namespace

/// What layers take and give, (tokens, ...). "Before": what a norm took.
struct LearnedBlock::Values {
  std::int64_t tokens;
  Matrix<float> attention_input;
  Matrix<float> q_before;  // of heads that are normalized; else empty
  Matrix<float> k_before;
  Matrix<float> q;
  Matrix<float> k;
  Matrix<float> v;
  Matrix<float> attended;
  Matrix<float> middle_before;  // behind the attention, before a norm that comes behind it
  Matrix<float> middle;
  Matrix<float> mlp_input;
  Matrix<float> gate;  // as the layer gave it; empty if there is none
  Matrix<float> up;
  Matrix<float> inner;
  Matrix<float> out_before;  // where a norm comes behind
};

LearnedBlock::LearnedBlock(DecoderBlock block, const ModelSpec& spec)
    : block_(std::move(block)),
      input_norm_(block_.input_norm, spec.norm.weight_offset),
      q_norm_(learned(block_.attention.q_norm, spec.norm.weight_offset)),
      k_norm_(learned(block_.attention.k_norm, spec.norm.weight_offset)),
      post_norm_(block_.post_norm, spec.norm.weight_offset),
      q_(block_.attention.q),
      k_(block_.attention.k),
      v_(block_.attention.v),
      o_(block_.attention.o),
      up_(block_.mlp.up),
      down_(block_.mlp.down) {
  if (block_.mlp.gate) gate_.emplace(*block_.mlp.gate);
}

std::vector<LearnedLinear*> LearnedBlock::linears() {
  std::vector<LearnedLinear*> all = {&q_, &k_, &v_, &o_};
  if (gate_) all.push_back(&*gate_);
  all.insert(all.end(), {&up_, &down_});
  return all;
}

std::vector<LearnedNorm*> LearnedBlock::norms() {
  std::vector<LearnedNorm*> all = {&input_norm_};
  if (q_norm_) all.push_back(&*q_norm_);
  if (k_norm_) all.push_back(&*k_norm_);
  all.push_back(&post_norm_);
  return all;
}

LearnedLinear* LearnedBlock::linear(ModuleRole role) {
  switch (role) {
    case ModuleRole::kQ:
      return &q_;
    case ModuleRole::kK:
      return &k_;
    case ModuleRole::kV:
      return &v_;
    case ModuleRole::kO:
      return &o_;
    case ModuleRole::kGate:
      return gate_ ? &*gate_ : nullptr;
    case ModuleRole::kUp:
      return &up_;
    case ModuleRole::kDown:
      return &down_;
    default:
      return nullptr;
  }
}

LearnedNorm* LearnedBlock::norm(ModuleRole role) {
  switch (role) {
    case ModuleRole::kInputNorm:
      return &input_norm_;
    case ModuleRole::kQNorm:
      return q_norm_ ? &*q_norm_ : nullptr;
    case ModuleRole::kKNorm:
      return k_norm_ ? &*k_norm_ : nullptr;
    case ModuleRole::kPostNorm:
      return &post_norm_;
    default:
      return nullptr;
  }
}

LearnedBlock::Values LearnedBlock::forward(Compute& compute, const Rope& rope, const float* x,
                                           std::int64_t tokens) {
  const SelfAttention& attention = block_.attention;
  const std::int64_t hidden = attention.o.out_features();
  const std::int64_t head_dim = attention.shape.head_dim;
  Values values{.tokens = tokens, .attention_input = copy_of(x, tokens, hidden)};
  if (block_.norm_first) {
    block_.input_norm.apply(compute, x, tokens, values.attention_input.data());
  }
  values.q = Matrix<float>(tokens, attention.q.out_features());
  values.k = Matrix<float>(tokens, attention.k.out_features());
  values.v = Matrix<float>(tokens, attention.v.out_features());
  const LinearCall calls[] = {{&attention.q, values.q.data()},
                              {&attention.k, values.k.data()},
                              {&attention.v, values.v.data()}};
  apply_linears(compute, {.x = values.attention_input.data(), .tokens = tokens}, calls);
  const auto normalize = [&](const std::optional<Norm>& norm, Matrix<float>& heads,
                             Matrix<float>& before) {
    if (!norm) return;
    before = copy_of(heads.data(), tokens, heads.cols());
    norm->apply(compute, heads.data(), tokens * heads.cols() / head_dim, heads.data());
  };
  normalize(attention.q_norm, values.q, values.q_before);
  normalize(attention.k_norm, values.k, values.k_before);
  rotate(compute, rope, values.q, head_dim, false);
  rotate(compute, rope, values.k, head_dim, false);
  values.attended = Matrix<float>(tokens, attention.q.out_features());
  attend(compute, attention.shape, {values.q.data(), values.k.data(), values.v.data(), tokens},
         values.attended.data());

  values.middle = copy_of(x, tokens, hidden);
  add_linear(compute, attention.o, {.x = values.attended.data(), .tokens = tokens},
             values.middle.data());
  if (!block_.norm_first) {
    values.middle_before = copy_of(values.middle.data(), tokens, hidden);
    block_.input_norm.apply(compute, values.middle.data(), tokens, values.middle.data());
  }
  values.mlp_input = copy_of(values.middle.data(), tokens, hidden);
  if (block_.norm_first) {
    block_.post_norm.apply(compute, values.middle.data(), tokens, values.mlp_input.data());
  }
  const Mlp& mlp = block_.mlp;
  const std::int64_t width = mlp.up.out_features();
  const MatmulInput input{.x = values.mlp_input.data(), .tokens = tokens};
  values.up = Matrix<float>(tokens, width);
  values.inner = Matrix<float>(tokens, width);
  apply_linear(compute, mlp.up, input, values.up.data());
  if (mlp.gate) {
    values.gate = Matrix<float>(tokens, width);
    apply_linear(compute, *mlp.gate, input, values.gate.data());
  }
  for_each_row(compute, tokens, [&](std::int64_t t) {
    if (mlp.gate) {
      compute.kernels().activate_mul(mlp.activation, values.gate.row(t), values.up.row(t), width,
                                     values.inner.row(t));
    } else {
      compute.kernels().activate(mlp.activation, values.up.row(t), width, values.inner.row(t));
    }
  });
  if (!block_.norm_first) {
    values.out_before = copy_of(values.middle.data(), tokens, hidden);
    add_linear(compute, mlp.down, {.x = values.inner.data(), .tokens = tokens},
               values.out_before.data());
  }
  return values;
}

/// dinput: (tokens, hidden), zeros before.
void LearnedBlock::backward_mlp(Compute& compute, const Values& values, const float* dout,
                                float* dinput) {
  const std::int64_t tokens = values.tokens;
  const std::int64_t width = values.up.cols();
  Matrix<float> dinner(tokens, width);
  down_.backward(compute, values.inner.data(), dout, tokens, dinner.data());
  Matrix<float> dup(tokens, width);
  Matrix<float> dgate(gate_ ? tokens : 0, width);
  for_each_row(compute, tokens, [&](std::int64_t t) {
    const float* d = dinner.row(t);
    const float* up = values.up.row(t);
    for (std::int64_t i = 0; i < width; ++i) {
      if (!gate_) {
        dup(t, i) = d[i] * activation_slope(block_.mlp.activation, up[i]).slope;
        continue;
      }
      const ActivationSlope gate = activation_slope(block_.mlp.activation, values.gate(t, i));
      dup(t, i) = d[i] * gate.value;
      dgate(t, i) = d[i] * up[i] * gate.slope;
    }
  });
  up_.backward(compute, values.mlp_input.data(), dup.data(), tokens, dinput);
  if (gate_) gate_->backward(compute, values.mlp_input.data(), dgate.data(), tokens, dinput);
}

/// dinput: (tokens, hidden), zeros before.
void LearnedBlock::backward_attention(Compute& compute, const Rope& rope, const Values& values,
                                      const float* dout, float* dinput) {
  const SelfAttention& attention = block_.attention;
  const std::int64_t tokens = values.tokens;
  const std::int64_t head_dim = attention.shape.head_dim;
  Matrix<float> dattended(tokens, values.attended.cols());
  o_.backward(compute, values.attended.data(), dout, tokens, dattended.data());
  Matrix<float> dq(tokens, values.q.cols());
  Matrix<float> dk(tokens, values.k.cols());
  Matrix<float> dv(tokens, values.v.cols());
  attend_backward(compute, attention.shape,
                  {values.q.data(), values.k.data(), values.v.data(), tokens}, dattended.data(),
                  {dq.data(), dk.data(), dv.data()});
  rotate(compute, rope, dq, head_dim, true);
  rotate(compute, rope, dk, head_dim, true);
  const auto through_norm = [&](std::optional<LearnedNorm>& norm, const Matrix<float>& before,
                                Matrix<float>& d) {
    if (!norm) return;
    norm->backward(compute, before.data(), d.data(), tokens * d.cols() / head_dim, d.data(), false);
  };
  through_norm(q_norm_, values.q_before, dq);
  through_norm(k_norm_, values.k_before, dk);
  const float* input = values.attention_input.data();
  q_.backward(compute, input, dq.data(), tokens, dinput);
  k_.backward(compute, input, dk.data(), tokens, dinput);
  v_.backward(compute, input, dv.data(), tokens, dinput);
}

void LearnedBlock::backward(Compute& compute, const Rope& rope, const float* x, std::int64_t tokens,
                            float* gradient) {
  const Values values = forward(compute, rope, x, tokens);
  const std::int64_t hidden = values.middle.cols();
  const bool norm_first = block_.norm_first;
  if (!norm_first) {
    post_norm_.backward(compute, values.out_before.data(), gradient, tokens, gradient, false);
  }
  Matrix<float> dinput(tokens, hidden);
  backward_mlp(compute, values, gradient, dinput.data());
  const auto add_to_gradient = [&] {
    for_each_row(compute, tokens, [&](std::int64_t t) {
      compute.kernels().add(gradient + t * hidden, dinput.row(t), hidden);
    });
  };
  if (norm_first) {
    post_norm_.backward(compute, values.middle.data(), dinput.data(), tokens, gradient, true);
  } else {
    add_to_gradient();
    input_norm_.backward(compute, values.middle_before.data(), gradient, tokens, gradient, false);
  }
  dinput.clear();
  backward_attention(compute, rope, values, gradient, dinput.data());
  if (norm_first) {
    input_norm_.backward(compute, x, dinput.data(), tokens, gradient, true);
  } else {
    add_to_gradient();
  }
}

}  // namespace nibble
