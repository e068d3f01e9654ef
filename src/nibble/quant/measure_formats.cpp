#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/progress.h"
#include "nibble/quant/calibration/statistics.h"
#include "nibble/quant/calibration/stream.h"
#include "nibble/quant/rounders/per_group_rounder.h"
#include "nibble/quant/rounders/range_search.h"
#include "nibble/quant/rounders/round_matrix.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "nibble/quant/target_bits.h"

namespace nibble {
namespace {

constexpr std::int64_t kMeasuredBlocks = 8;

/// Sums over one piece of a layer's rows, weighted by its inputs' squares.
struct WeightedError {
  double of_rounding = 0;
  double of_weights = 0;
};

WeightedError error_of(std::span<const float> weights, std::span<const float> importance,
                       const IntegerRows& rows) {
  WeightedError error;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t c = 0; c < rows.cols; ++c) {
      const double w = weights[static_cast<std::size_t>(r * rows.cols + c)];
      const double d = importance[static_cast<std::size_t>(c)];
      const double off = rows.grid(r, c / rows.group_size).value(rows.q_row(r)[c]) - w;
      error.of_rounding += d * off * off;
      error.of_weights += d * w * w;
    }
  }
  return error;
}

/// The error of rounding a matrix over that of leaving it out.
double relative_error(Compute& compute, const WeightView& weight, const WeightLayout& layout,
                      std::span<const float> importance) {
  const std::int64_t pieces = (layout.rows + kRowsAtATime - 1) / kRowsAtATime;
  std::vector<WeightedError> errors(static_cast<std::size_t>(pieces));
  compute.pool().parallel_for(pieces, [&](std::int64_t piece, int) {
    const std::int64_t first = piece * kRowsAtATime;
    const std::int64_t count = std::min(kRowsAtATime, layout.rows - first);
    std::vector<float> weights(static_cast<std::size_t>(count * layout.cols));
    read_weight_rows(weight, first, count, weights);
    IntegerRows rows(layout, count);
    rows.has_groups ? search_ranges(weights, importance, rows) : round_per_group(weights, rows);
    errors[static_cast<std::size_t>(piece)] = error_of(weights, importance, rows);
  });
  WeightedError total;
  for (const WeightedError& error : errors) {  // in order, whatever thread did which
    total.of_rounding += error.of_rounding;
    total.of_weights += error.of_weights;
  }
  return total.of_weights > 0 ? total.of_rounding / total.of_weights : 0;
}

/// |after - before|^2 / |after|^2, summed over tokens. Both: (tokens, width).
double added_share(std::span<const float> before, const float* after, std::int64_t width) {
  double sum = 0;
  for (std::size_t at = 0; at < before.size(); at += static_cast<std::size_t>(width)) {
    double added = 0;
    double all = 0;
    for (std::size_t i = at; i < at + static_cast<std::size_t>(width); ++i) {
      added += std::pow(static_cast<double>(after[i]) - before[i], 2);
      all += std::pow(static_cast<double>(after[i]), 2);
    }
    if (all > 0) sum += added / all;
  }
  return sum;
}

class Measurement {
 public:
  Measurement(const Checkpoint& checkpoint, const QuantizePlan& plan, Compute& compute)
      : plan_(plan),
        compute_(compute),
        loader_(checkpoint, compute, plan.options.dtype, ActivationType::kBF16) {}

  std::vector<LayerFormats> run(const std::vector<std::vector<std::int32_t>>& ids) {
    const ModelSpec& spec = loader_.spec();
    Embedding embedding(loader_);
    stream_.emplace(compute_, spec, CalibrationSize{std::ssize(ids), std::ssize(ids.front())},
                    false, space_);
    stream_->embed(embedding, ids);
    Progress progress("measuring", spec.n_layers, "blocks");
    if (spec.project_in) measure_unseen();
    for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
      measure_block(layer);
      progress.advance(1);
    }
    for (LayerFormats& layer : measured_) {
      if (shares_ == 0 || (spec.project_in && layer.layer == 0)) continue;
      for (LayerFormats::Format& format : layer.formats) format.loss /= shares_;
    }
    if (spec.project_out) measure_unseen();
    spec.project_out ? measure_unseen() : measure_head();
    return std::move(measured_);
  }

 private:
  /// Of the inputs of layers that share them: their mean squares.
  std::vector<float> squares(StatisticsSum& sum) {
    return sum.finish(plan_.layers[next_].linear.name).squares;
  }

  void measure(const Linear& layer, std::span<const float> importance, double share) {
    const std::size_t number = next_++;
    const LayerPlan& plan = plan_.layers[number];
    if (!plan.packed) return;
    LayerFormats found{.layer = number, .formats = {}};
    for (const WeightLayout& layout : possible_layouts(plan_, plan)) {
      check_interrupt();
      const double error = relative_error(compute_, layer.weight.view, layout, importance);
      if (!std::isfinite(error)) {
        fail("{}: tensor \"{}.weight\" holds weights that are not finite numbers",
             loader_.checkpoint().path().string(), plan.linear.name);
      }
      found.formats.push_back({layout, share * error});
    }
    measured_.push_back(std::move(found));
  }

  void measure_unseen() {
    const LinearSpec& linear = plan_.layers[next_].linear;
    const Linear layer = loader_.linear(linear);
    measure(layer, std::vector<float>(static_cast<std::size_t>(linear.in), 1.0F), 1);
    loader_.drop(layer);
  }

  void measure_head() {
    const ModelSpec& spec = loader_.spec();
    std::optional<Norm> norm;
    if (!spec.final_norm.empty()) norm = loader_.norm(spec.final_norm, spec.hidden);
    StatisticsSum sum(InputNeeds::kSquares, spec.hidden);
    for (std::int64_t sample = 0; sample < stream_->samples(); ++sample) {
      stream_->load(sample);
      sum.add(compute_, stream_->head_input(norm ? &*norm : nullptr), nullptr, stream_->tokens());
    }
    const Linear head = loader_.linear(plan_.layers[next_].linear);
    measure(head, squares(sum), 1);
    loader_.drop(head);
  }

  void measure_block(std::int64_t number) {
    const DecoderBlock block = load_block(loader_, number);
    const std::int64_t width = loader_.spec().hidden;
    const std::int64_t inner = block.mlp.down.in_features();
    std::array<StatisticsSum, 4> sums{
        StatisticsSum(InputNeeds::kSquares, width),
        StatisticsSum(InputNeeds::kSquares, block.attention.o.in_features()),
        StatisticsSum(InputNeeds::kSquares, width), StatisticsSum(InputNeeds::kSquares, inner)};
    double attention = 0;
    double mlp = 0;
    const std::int64_t tokens = stream_->tokens();
    const auto hidden = [&] {
      return std::vector<float>(stream_->hidden(), stream_->hidden() + tokens * width);
    };
    for (std::int64_t sample = 0; sample < stream_->samples(); ++sample) {
      stream_->load(sample);
      const std::vector<float> before = hidden();
      sums[0].add(compute_, stream_->attention_input(block), nullptr, tokens);
      sums[1].add(compute_, stream_->run_attention(block), nullptr, tokens);
      attention += added_share(before, stream_->hidden(), width);
      const std::vector<float> between = hidden();
      sums[2].add(compute_, stream_->mlp_input(block), nullptr, tokens);
      sums[3].add(compute_, stream_->run_mlp(block), nullptr, tokens);
      mlp += added_share(between, stream_->hidden(), width);
      stream_->store(sample);
    }
    const double all = static_cast<double>(tokens * stream_->samples());
    shares_ += (attention + mlp) / all;
    const std::vector<float> into_attention = squares(sums[0]);
    measure(block.attention.q, into_attention, attention / all);
    measure(block.attention.k, into_attention, attention / all);
    measure(block.attention.v, into_attention, attention / all);
    measure(block.attention.o, squares(sums[1]), attention / all);
    const std::vector<float> into_mlp = squares(sums[2]);
    if (block.mlp.gate) measure(*block.mlp.gate, into_mlp, mlp / all);
    measure(block.mlp.up, into_mlp, mlp / all);
    measure(block.mlp.down, squares(sums[3]), mlp / all);
    for (const Linear* layer : block.linears()) loader_.drop(*layer);
  }

  const QuantizePlan& plan_;
  Compute& compute_;
  WeightLoader loader_;
  ActivationSpace space_;
  std::optional<CalibrationStream> stream_;
  std::size_t next_ = 0;  // of plan_.layers
  double shares_ = 0;     // of all halves of blocks
  std::vector<LayerFormats> measured_;
};

}  // namespace

std::vector<LayerFormats> measure_formats(const Checkpoint& checkpoint, const QuantizePlan& plan,
                                          const std::vector<std::vector<std::int32_t>>& ids,
                                          Compute& compute) {
  const auto count = std::min(kMeasuredBlocks, std::ssize(ids));
  return Measurement(checkpoint, plan, compute).run({ids.begin(), ids.begin() + count});
}

}  // namespace nibble
