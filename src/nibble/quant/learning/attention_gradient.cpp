#include "nibble/quant/learning/attention_gradient.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nibble/ops/gemm.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {
namespace {

constexpr std::int64_t kRows = 64;  // of scores that are made at a time: what is above the diagonal
                                    // of the last of them is left out

/// The matrices of one head.
class Head {
 public:
  Head(Compute& compute, int thread, const AttentionShape& shape, const AttentionInputs& inputs,
       std::int64_t head)
      : compute_(compute),
        thread_(thread),
        shape_(shape),
        tokens_(inputs.tokens),
        q_stride_(shape.n_heads * shape.head_dim),
        kv_stride_(shape.n_kv_heads * shape.head_dim),
        q_(inputs.q + head * shape.head_dim),
        k_(inputs.k + kv_head(head) * shape.head_dim),
        v_(inputs.v + kv_head(head) * shape.head_dim),
        scale_(1 / std::sqrt(static_cast<float>(shape.head_dim))),
        weights_(tokens_, tokens_) {
    // softmax(scale q k^T) row by row
    multiply_rows(q_, q_stride_, turned(k_, kv_stride_), weights_);
    for (std::int64_t t = 0; t < tokens_; ++t) {
      float* row = weights_.row(t);
      const std::int64_t first = first_seen(t);
      for (std::int64_t i = first; i <= t; ++i) row[i] *= scale_;
      compute.kernels().softmax(row + first, t + 1 - first, row + first);
      std::fill_n(row, first, 0.0F);
      std::fill(row + t + 1, row + tokens_, 0.0F);
    }
  }

  /// out: weights v.
  void output(float* out) const { multiply_lower(weights_, v_, out); }

  /// dq overwritten; dk and dv, (tokens, head_dim), added to.
  void gradients(const float* dout, float* dq, float* dk, float* dv) {
    multiply_by_turned(weights_, dout, dv);
    Matrix<float> dscores(tokens_, tokens_);
    multiply_rows(dout, q_stride_, turned(v_, kv_stride_), dscores);
    for (std::int64_t t = 0; t < tokens_; ++t) {
      float* d = dscores.row(t);
      const float* w = weights_.row(t);
      double mean = 0;
      for (std::int64_t i = 0; i <= t; ++i) mean += static_cast<double>(d[i]) * w[i];
      for (std::int64_t i = 0; i <= t; ++i) {
        d[i] = scale_ * w[i] * (d[i] - static_cast<float>(mean));
      }
      std::fill(d + t + 1, d + tokens_, 0.0F);
    }
    multiply_lower(dscores, k_, dq);
    multiply_by_turned(dscores, q_, dk);
  }

 private:
  std::int64_t kv_head(std::int64_t head) const {
    return head / (shape_.n_heads / shape_.n_kv_heads);
  }
  std::int64_t first_seen(std::int64_t t) const {
    return shape_.window == 0 ? 0 : std::max<std::int64_t>(0, t + 1 - shape_.window);
  }
  void run(const GemmTask<float>& task) const { gemm_here(compute_, thread_, task); }

  template <typename Work>
  void for_each_lot(Work work) const {
    for (std::int64_t first = 0; first < tokens_; first += kRows) {
      work(first, std::min(kRows, tokens_ - first));
    }
  }

  void clear(float* out, std::int64_t stride) const {
    for (std::int64_t t = 0; t < tokens_; ++t) std::fill_n(out + t * stride, shape_.head_dim, 0.0F);
  }

  /// (head_dim, tokens) of (tokens, head_dim).
  Matrix<float> turned(const float* x, std::int64_t stride) const {
    Matrix<float> out(shape_.head_dim, tokens_);
    for (std::int64_t t = 0; t < tokens_; ++t) {
      for (std::int64_t d = 0; d < shape_.head_dim; ++d) out(d, t) = x[t * stride + d];
    }
    return out;
  }

  /// out, zeros before: x y, (tokens, tokens), on and below the diagonal.
  void multiply_rows(const float* x, std::int64_t stride, const Matrix<float>& y,
                     Matrix<float>& out) const {
    for_each_lot([&](std::int64_t first, std::int64_t rows) {
      run({.a = x + first * stride,
           .a_stride = stride,
           .b = y.data(),
           .b_stride = tokens_,
           .out = out.row(first),
           .out_stride = tokens_,
           .rows = rows,
           .depth = shape_.head_dim,
           .cols = first + rows});
    });
  }

  /// out: lower x, as the queries lie; x: (tokens, head_dim) as keys and values lie.
  void multiply_lower(const Matrix<float>& lower, const float* x, float* out) const {
    clear(out, q_stride_);
    for_each_lot([&](std::int64_t first, std::int64_t rows) {
      run({.a = lower.row(first),
           .a_stride = tokens_,
           .b = x,
           .b_stride = kv_stride_,
           .out = out + first * q_stride_,
           .out_stride = q_stride_,
           .rows = rows,
           .depth = first + rows,
           .cols = shape_.head_dim});
    });
  }

  /// out += lower^T x, x: (tokens, head_dim) as the queries lie; out: (tokens, head_dim).
  void multiply_by_turned(const Matrix<float>& lower, const float* x, float* out) const {
    Matrix<float> lot(kRows, tokens_);  // some columns of it as rows
    for_each_lot([&](std::int64_t first, std::int64_t rows) {
      for (std::int64_t t = first; t < tokens_; ++t) {
        for (std::int64_t r = 0; r < rows; ++r) lot(r, t) = lower(t, first + r);
      }
      run({.a = lot.data() + first,
           .a_stride = tokens_,
           .b = x + first * q_stride_,
           .b_stride = q_stride_,
           .out = out + first * shape_.head_dim,
           .out_stride = shape_.head_dim,
           .rows = rows,
           .depth = tokens_ - first,
           .cols = shape_.head_dim});
    });
  }

  Compute& compute_;
  int thread_;
  const AttentionShape& shape_;
  std::int64_t tokens_;
  std::int64_t q_stride_;
  std::int64_t kv_stride_;
  const float* q_;
  const float* k_;
  const float* v_;
  float scale_;
  Matrix<float> weights_;  // (tokens, tokens)
};

}  // namespace

void attend(Compute& compute, const AttentionShape& shape, const AttentionInputs& inputs,
            float* out) {
  compute.pool().parallel_for(shape.n_heads, [&](std::int64_t head, int thread) {
    Head(compute, thread, shape, inputs, head).output(out + head * shape.head_dim);
  });
}

void attend_backward(Compute& compute, const AttentionShape& shape, const AttentionInputs& inputs,
                     const float* dout, const AttentionGradients& gradients) {
  const std::int64_t elements = inputs.tokens * shape.head_dim;
  Matrix<float> dk(shape.n_heads, elements);  // of each head by itself
  Matrix<float> dv(shape.n_heads, elements);
  compute.pool().parallel_for(shape.n_heads, [&](std::int64_t head, int thread) {
    const std::int64_t at = head * shape.head_dim;
    Head(compute, thread, shape, inputs, head)
        .gradients(dout + at, gradients.q + at, dk.row(head), dv.row(head));
  });
  const std::int64_t shared = shape.n_heads / shape.n_kv_heads;
  compute.pool().parallel_for(shape.n_kv_heads, [&](std::int64_t kv_head, int) {
    const auto sum_heads = [&](const Matrix<float>& by_head, float* out) {
      for (std::int64_t t = 0; t < inputs.tokens; ++t) {
        float* to = out + (t * shape.n_kv_heads + kv_head) * shape.head_dim;
        std::fill_n(to, shape.head_dim, 0.0F);
        for (std::int64_t h = kv_head * shared; h < (kv_head + 1) * shared; ++h) {
          const float* from = by_head.row(h) + t * shape.head_dim;
          for (std::int64_t d = 0; d < shape.head_dim; ++d) to[d] += from[d];
        }
      }
    };
    sum_heads(dk, gradients.k);
    sum_heads(dv, gradients.v);
  });
}

}  // namespace nibble
