#include "nibble/quant/quality.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "nibble/core/arg_max.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/progress.h"
#include "nibble/models/weight_loader.h"
#include "nibble/ops/divergence.h"
#include "nibble/quant/calibration/stream.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {
namespace {

constexpr std::int64_t kRows = 64;  // of logits that are there at a time

/// One of the two models on its way.
class Side {
 public:
  Side(const Checkpoint& checkpoint, Compute& compute, DType dtype,
       const std::vector<std::vector<std::int32_t>>& ids)
      : compute_(compute),
        loader_(checkpoint, compute, dtype),
        stream_(compute, loader_.spec(), {std::ssize(ids), std::ssize(ids.front())}, false,
                space_) {
    Embedding embedding(loader_);
    stream_.embed(embedding, ids);
  }

  void begin_block(std::int64_t layer) { block_ = load_block(loader_, layer); }
  void end_block() {
    for (const Linear* linear : block_.linears()) loader_.drop(*linear);
  }
  /// Moves a sample on to behind the block; gives its states, (tokens, hidden).
  const float* run(std::int64_t sample) {
    stream_.load(sample);
    stream_.run_attention(block_);
    stream_.run_mlp(block_);
    stream_.store(sample);
    return stream_.hidden();
  }

  void begin_head() {
    const ModelSpec& spec = loader_.spec();
    if (!spec.final_norm.empty()) norm_ = loader_.norm(spec.final_norm, spec.hidden);
    if (spec.project_out) project_out_ = loader_.linear(*spec.project_out);
    head_ = loader_.linear(spec.head);
  }
  /// Logits of some tokens of a sample, (rows, vocab).
  void logits(std::int64_t sample, std::int64_t first, std::int64_t rows, float* out) {
    if (first == 0) {
      stream_.load(sample);
      input_ = stream_.head_input(norm_ ? &*norm_ : nullptr);
    }
    const float* x = input_ + first * loader_.spec().hidden;
    if (project_out_) {
      auto* projected =
          projected_.as<float>(static_cast<std::size_t>(rows * project_out_->out_features()));
      apply_linear(compute_, *project_out_, {.x = x, .tokens = rows}, projected);
      x = projected;
    }
    apply_linear(compute_, head_, {.x = x, .tokens = rows}, out);
  }

  const ModelSpec& spec() const { return loader_.spec(); }
  std::int64_t samples() const { return stream_.samples(); }
  std::int64_t tokens() const { return stream_.tokens(); }

 private:
  Compute& compute_;
  WeightLoader loader_;
  ActivationSpace space_;
  CalibrationStream stream_;
  DecoderBlock block_;
  std::optional<Norm> norm_;
  std::optional<Linear> project_out_;
  Linear head_;
  const float* input_ = nullptr;
  Buffer projected_;
};

class Comparison {
 public:
  Comparison(Side& original, Side& quantized, std::int64_t trained, Compute& compute)
      : original_(original), quantized_(quantized), trained_(trained), compute_(compute) {}

  Quality run() {
    const std::int64_t blocks = original_.spec().n_layers;
    Progress progress("comparing", blocks + 1, "blocks");
    for (std::int64_t layer = 0; layer < blocks; ++layer) {
      check_interrupt();
      quality_.block_errors.push_back(run_block(layer));
      progress.advance(1);
    }
    compare_predictions();
    return std::move(quality_);
  }

 private:
  bool is_trained(std::int64_t sample) const { return sample < trained_; }

  double run_block(std::int64_t layer) {
    for (Side* side : {&original_, &quantized_}) side->begin_block(layer);
    const std::int64_t elements = original_.tokens() * original_.spec().hidden;
    const bool has_others = trained_ < original_.samples();
    double off = 0;
    double all = 0;
    for (std::int64_t sample = 0; sample < original_.samples(); ++sample) {
      const float* expected = original_.run(sample);
      const float* found = quantized_.run(sample);
      if (has_others && is_trained(sample)) continue;
      for (std::int64_t i = 0; i < elements; ++i) {
        off += std::pow(static_cast<double>(found[i]) - expected[i], 2);
        all += std::pow(static_cast<double>(expected[i]), 2);
      }
    }
    for (Side* side : {&original_, &quantized_}) side->end_block();
    return all > 0 ? std::sqrt(off / all) : 0;
  }

  void compare_predictions() {
    for (Side* side : {&original_, &quantized_}) side->begin_head();
    for (std::int64_t sample = 0; sample < original_.samples(); ++sample) {
      check_interrupt();
      add_sample(sample, is_trained(sample) ? quality_.trained : quality_.held_out);
    }
    for (TextQuality* text : {&quality_.trained, &quality_.held_out}) {
      if (text->tokens == 0) continue;
      text->kl_divergence /= static_cast<double>(text->tokens);
      text->top1_agreement /= static_cast<double>(text->tokens);
    }
  }

  void add_sample(std::int64_t sample, TextQuality& text) {
    const std::int64_t vocab = original_.spec().vocab;
    Matrix<float> expected(kRows, vocab);
    Matrix<float> found(kRows, vocab);
    for (std::int64_t first = 0; first < original_.tokens(); first += kRows) {
      const std::int64_t rows = std::min(kRows, original_.tokens() - first);
      original_.logits(sample, first, rows, expected.data());
      quantized_.logits(sample, first, rows, found.data());
      std::vector<double> divergences(static_cast<std::size_t>(rows));
      std::vector<char> same(static_cast<std::size_t>(rows));
      compute_.pool().parallel_for(rows, [&](std::int64_t row, int thread) {
        const auto at = static_cast<std::size_t>(row);
        const auto size = static_cast<std::size_t>(vocab);
        const std::span<const float> right(expected.row(row), size);
        const std::span<const float> other(found.row(row), size);
        auto* scratch =
            reinterpret_cast<float*>(compute_.thread_scratch(thread, size * sizeof(float)));
        divergences[at] = kl_divergence(compute_.kernels(), right, other, scratch);
        same[at] = arg_max(right) == arg_max(other) ? 1 : 0;
      });
      for (std::size_t i = 0; i < same.size(); ++i) {
        text.kl_divergence += divergences[i];
        text.top1_agreement += same[i];
      }
      text.tokens += rows;
    }
  }

  Side& original_;
  Side& quantized_;
  std::int64_t trained_;
  Compute& compute_;
  Quality quality_;
};

}  // namespace

Quality measure_quality(const Checkpoint& original, const Checkpoint& quantized, Compute& compute,
                        DType dtype, const QualityTexts& texts) {
  std::vector<std::vector<std::int32_t>> ids = texts.trained;
  ids.insert(ids.end(), texts.held_out.begin(), texts.held_out.end());
  if (ids.empty()) return {};
  Side first(original, compute, dtype, ids);
  Side second(quantized, compute, dtype, ids);
  return Comparison(first, second, std::ssize(texts.trained), compute).run();
}

}  // namespace nibble
