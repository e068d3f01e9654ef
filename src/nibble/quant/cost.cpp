#include "nibble/quant/cost.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "nibble/core/process.h"
#include "nibble/core/stopwatch.h"
#include "nibble/quant/calibration/statistics.h"
#include "nibble/quant/rounders/round_matrix.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "nibble/quant/tensor_writer.h"

namespace nibble {
namespace {

constexpr double kLongEnough = 0.1;              // seconds: of a part of the work that is measured
constexpr std::int64_t kCopiedBytes = 20 << 20;  // of dense matrices, as they pass through
constexpr std::int64_t kTokens = 128;            // of the sample that is run through a block

/// Seconds that `work` takes, the mean of as many times as are long enough to tell; the first is
/// not counted, as it brings in memory.
double seconds_of(const std::function<void()>& work) {
  work();
  const Stopwatch stopwatch;
  int times = 0;
  do {
    work();
    ++times;
  } while (stopwatch.seconds() < kLongEnough);
  return stopwatch.seconds() / times;
}

class CostEstimate {
 public:
  CostEstimate(const QuantizeJob& job, const CalibrationSize& size, Compute& compute)
      : job_(job),
        size_(size),
        compute_(compute),
        spec_(job.checkpoint.spec()),
        method_(job.method.blocks),
        needs_(method_.rounder->needs()),
        is_by_products_(needs_ == InputNeeds::kProducts || needs_ == InputNeeds::kCross) {}

  QuantizeCost run() {
    QuantizeCost cost;
    if (!job_.plan.packed().empty()) {
      cost.seconds = method_.looks_at_inputs() ? seconds_by_blocks() : seconds_by_rows();
    }
    const std::int64_t calibration = method_.looks_at_inputs() ? bytes_of_calibration() : 0;
    cost.memory_bytes = peak_rss_bytes() + std::max(kCopiedBytes, bytes_of_rows() + calibration);
    cost.is_all = method_.transforms.empty() && !job_.method.distillation;
    return cost;
  }

 private:
  /// Rows that keep all threads busy.
  std::int64_t rows_of(const WeightLayout& layout) const {
    return std::min<std::int64_t>(layout.rows, kRowsAtATime * compute_.pool().size());
  }

  /// Of rounding the first rows of a matrix, for each weight.
  double seconds_a_weight(WeightLayout part, const RowRounder& rounder, RowReader read) {
    part.rows = rows_of(part);
    const double seconds = seconds_of([&] { round_matrix(compute_, rounder, part, read); });
    return seconds / static_cast<double>(part.rows * part.cols);
  }

  double seconds_by_rows() {
    const LayerPlan& layer = *job_.plan.packed().front();
    const CheckpointTensor tensor = job_.checkpoint.dense_weight(layer.linear);
    const auto rounder = method_.rounder->prepare(compute_, {});
    const double one = seconds_a_weight(
        layer.layout, *rounder, [&](std::int64_t first, std::int64_t count, std::span<float> out) {
          read_rows(tensor, first, count, out.data());
        });
    double weights = 0;
    for (const LayerPlan* packed : job_.plan.packed()) {
      weights += static_cast<double>(packed->linear.out * packed->linear.in);
    }
    return one * weights;
  }

  /// Of the inputs of a decoder block's layers, in the order of the forward pass, and the head's.
  std::vector<std::int64_t> input_widths() const {
    std::vector<std::int64_t> widths;
    for (std::int64_t layer = 0; layer < spec_.n_layers; ++layer) {
      widths.insert(widths.end(), {spec_.q.in, spec_.o.in, spec_.up.in, spec_.down.in});
    }
    if (job_.plan.layers.back().packed) widths.push_back(spec_.head.in);
    return widths;
  }

  int streams() const {
    return (method_.runs_quantized() ? 1 : 0) + (method_.runs_original() ? 1 : 0);
  }

  /// One sample goes through the first block; sums and rounding of its first layer follow.
  double seconds_by_blocks() {
    const WeightLoader loader(job_.checkpoint, compute_, job_.plan.options.dtype,
                              method_.activations);
    const DecoderBlock block = load_block(loader, 0);
    const std::int64_t tokens = std::min({kTokens, size_.tokens, spec_.context});
    CalibrationStream stream(compute_, spec_, {1, tokens},
                             method_.activations == ActivationType::kF32);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i * 7919) % spec_.vocab);
    }
    Embedding embedding(loader);
    stream.embed(embedding, {ids});
    const double forward = seconds_of([&] {
      stream.load(0);
      stream.run_attention(block);
      stream.run_mlp(block);
    });
    stream.load(0);
    const float* seen = stream.attention_input(block);
    const std::int64_t width = spec_.q.in;
    const double add = seconds_of([&] { add_statistics(seen, tokens); });
    StatisticsSum sum(needs_, width);
    sum.add(compute_, seen, seen, tokens);
    const Stopwatch preparing;
    const auto rounder = method_.rounder->prepare(compute_, sum.finish(spec_.q.name));
    const double prepare = preparing.seconds();
    const double round = seconds_of_first_layer(block, *rounder);

    const double samples = static_cast<double>(size_.samples) * static_cast<double>(size_.tokens) /
                           static_cast<double>(tokens);
    // The quantized model's states go through each half twice: before and behind its rounding.
    const int passes = streams() + (needs_ != InputNeeds::kNothing ? 1 : 0);
    double seconds = samples * passes * forward * static_cast<double>(spec_.n_layers);
    for (const std::int64_t in : input_widths()) {
      const double ratio = static_cast<double>(in) / static_cast<double>(width);
      seconds += samples * add * std::pow(ratio, is_by_products_ ? 2 : 1) +
                 prepare * std::pow(ratio, is_by_products_ ? 3 : 1);
    }
    for (const LayerPlan* layer : job_.plan.packed()) {
      const double ratio = static_cast<double>(layer->linear.in) / static_cast<double>(width);
      seconds += round * static_cast<double>(layer->linear.out * layer->linear.in) *
                 (is_by_products_ ? ratio : 1);
    }
    return seconds;
  }

  void add_statistics(const float* seen, std::int64_t tokens) {
    StatisticsSum sum(needs_, spec_.q.in);
    sum.add(compute_, seen, seen, tokens);
  }

  /// For each weight, of the first block's first layer, packed or not.
  double seconds_of_first_layer(const DecoderBlock& block, const RowRounder& rounder) {
    const WeightView weights = block.attention.q.weight.view;
    WeightLayout layout = job_.plan.packed().front()->layout;
    const WeightCodec& codec = codec_of(layout.format);
    layout.rows = weights.rows;
    layout.cols = weights.cols;
    if (codec.has_groups()) {
      layout.group_size = usable_group_size(codec, job_.plan.options.group_size, weights.cols);
      if (layout.group_size == 0) return 0;
    }
    return seconds_a_weight(layout, rounder,
                            [&](std::int64_t first, std::int64_t count, std::span<float> out) {
                              read_weight_rows(weights, first, count, out);
                            });
  }

  /// Rows of one matrix: as they are read, as floats on each thread, packed.
  std::int64_t bytes_of_rows() const {
    constexpr std::int64_t kReadAndPacked = 3;  // bytes a weight: of bfloat16 and about one
    constexpr std::int64_t kOnAThread = 24;     // of floats, targets, errors and integers
    std::int64_t widest = 0;
    for (const LayerPlan* layer : job_.plan.packed()) widest = std::max(widest, layer->linear.in);
    return widest *
           (kRowsPerSlice * kReadAndPacked + compute_.pool().size() * kRowsAtATime * kOnAThread);
  }

  /// States between two blocks, a block's weights and what its rounder keeps of the widest input.
  std::int64_t bytes_of_calibration() const {
    const std::int64_t state_bytes = method_.activations == ActivationType::kF32 ? 4 : 2;
    const std::int64_t states =
        streams() * size_.samples * size_.tokens * spec_.hidden * state_bytes;
    std::int64_t block_weights = 0;
    std::int64_t widest = 0;
    for (const LinearSpec& linear : spec_.linears()) {
      widest = std::max(widest, linear.in);
      if (linear.name != spec_.head.name) block_weights += linear.out * linear.in;
    }
    block_weights /= std::max<std::int64_t>(1, spec_.n_layers);
    // Of products: the sum, its inverse's factor and what that is made from; with the other
    // model's: their sum and the correction.
    const std::int64_t matrices = !is_by_products_ ? 0 : needs_ == InputNeeds::kCross ? 5 : 3;
    const std::int64_t forward = size_.tokens * (spec_.hidden + 3 * spec_.intermediate) * 4;
    return states + block_weights * 3 + matrices * widest * widest * 4 + forward;
  }

  const QuantizeJob& job_;
  CalibrationSize size_;
  Compute& compute_;
  const ModelSpec& spec_;
  const BlockMethod& method_;
  InputNeeds needs_;
  bool is_by_products_;
};

}  // namespace

QuantizeCost estimate_cost(const QuantizeJob& job, const CalibrationSize& size, Compute& compute) {
  return CostEstimate(job, size, compute).run();
}

}  // namespace nibble
