#include "nibble/quant/cost.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "nibble/core/process.h"
#include "nibble/core/stopwatch.h"
#include "nibble/quant/calibration/statistics.h"
#include "nibble/quant/memory_cost.h"
#include "nibble/quant/rounders/round_matrix.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "nibble/quant/tensor_writer.h"

namespace nibble {
namespace {

constexpr double kLongEnough = 0.1;      // seconds: of a part of the work that is measured
constexpr std::int64_t kTokens = 128;    // of a sample that is run through a block
constexpr std::int64_t kFewSamples = 2;  // that a transform is timed with

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
    if (method_.goes_by_blocks()) cost.seconds += seconds_of_transforms();
    if (job_.method.distillation) cost.seconds += seconds_of_learning();
    const MemoryCost memory = memory_cost(job_, size_, compute_.pool().size());
    const std::int64_t kept = std::min(memory.activations, activation_memory(job_, memory));
    cost.spilled_bytes = memory.activations - kept;
    cost.memory_bytes = peak_rss_bytes() + std::max(memory.working + kept, memory.learning);
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

  /// How often a sample goes through a block, beside what transforms do with it.
  int passes() const {
    // Behind a transform a rounder is shown what each half of the block gets for it, from its
    // input on.
    const int crossing = needs_ == InputNeeds::kCross ? 3 : 0;
    const int original = method_.transforms.empty() ? 1 : crossing;
    return (method_.runs_quantized() ? 1 : 0) + (method_.runs_original() ? original : 0);
  }

  std::int64_t tokens_of_a_sample() const {
    return std::min({kTokens, size_.tokens, spec_.context});
  }
  /// How many such samples the calibration is worth.
  double samples_of(std::int64_t tokens) const {
    return static_cast<double>(size_.samples) * static_cast<double>(size_.tokens) /
           static_cast<double>(tokens);
  }
  std::vector<std::vector<std::int32_t>> some_ids(std::size_t samples, std::int64_t tokens) const {
    std::vector<std::vector<std::int32_t>> ids(samples);
    std::int64_t id = 0;
    for (auto& sample : ids) {
      for (std::int64_t i = 0; i < tokens; ++i) {
        sample.push_back(static_cast<std::int32_t>(id % spec_.vocab));
        id += 7919;
      }
    }
    return ids;
  }

  /// Of transforming all blocks: the first is, with two samples and with more, as part of the work
  /// does not depend on them.
  double seconds_of_transforms() {
    if (method_.transforms.empty()) return 0;
    const std::int64_t tokens = tokens_of_a_sample();
    const double few = seconds_of_first_block(kFewSamples, tokens);
    double all = few;
    if (method_.transforms_look_at_inputs()) {
      const double more = seconds_of_first_block(2 * kFewSamples, tokens);
      const double each = std::max(0.0, (more - few) / kFewSamples);
      all += each * (samples_of(tokens) - kFewSamples);
    }
    return all * static_cast<double>(spec_.n_layers);
  }

  double seconds_of_first_block(std::int64_t samples, std::int64_t tokens) {
    const WeightLoader loader(job_.checkpoint, compute_, job_.plan.options.dtype,
                              method_.activations);
    DecoderBlock block = load_block(loader, 0);
    ActivationSpace space;
    std::optional<CalibrationStream> stream;
    if (method_.transforms_look_at_inputs()) {
      stream.emplace(compute_, spec_, CalibrationSize{samples, tokens},
                     method_.activations == ActivationType::kF32, space);
      Embedding embedding(loader);
      stream->embed(embedding, some_ids(static_cast<std::size_t>(samples), tokens));
    }
    RewrittenParameters rewritten;
    const Stopwatch stopwatch;
    for (const auto& transform : method_.transforms) {
      transform->apply({.compute = compute_,
                        .spec = spec_,
                        .plan = job_.plan,
                        .layer = 0,
                        .stream = stream ? &*stream : nullptr,
                        .moves_on = method_.transforms.size() == 1,
                        .block = block,
                        .rewritten = rewritten});
    }
    return stopwatch.seconds();
  }

  double seconds_of_forward(CalibrationStream& stream, const DecoderBlock& block) {
    return seconds_of([&] {
      stream.load(0);
      stream.run_attention(block);
      stream.run_mlp(block);
    });
  }

  /// Of learning from end to end: a sequence goes through the model that is not quantized, through
  /// the other, and back, which takes a block about kWayBack times as long as forward.
  double seconds_of_learning() {
    constexpr double kWayBack = 4;
    const WeightLoader loader(job_.checkpoint, compute_, job_.plan.options.dtype,
                              ActivationType::kBF16);
    const DecoderBlock block = load_block(loader, 0);
    const std::int64_t tokens = tokens_of_a_sample();
    ActivationSpace space;
    CalibrationStream stream(compute_, spec_, {1, tokens}, false, space);
    Embedding embedding(loader);
    stream.embed(embedding, some_ids(1, tokens));
    const double forward = seconds_of_forward(stream, block);
    double block_weights = 0;
    for (const Linear* linear : block.linears()) {
      block_weights += static_cast<double>(linear->in_features() * linear->out_features());
    }
    const auto head_weights = static_cast<double>(spec_.head.in * spec_.head.out);
    const double blocks = static_cast<double>(spec_.n_layers) + head_weights / block_weights;
    return samples_of(tokens) * forward * blocks * (2 + kWayBack);
  }

  /// One sample goes through the first block; sums and rounding of its first layer follow.
  double seconds_by_blocks() {
    const WeightLoader loader(job_.checkpoint, compute_, job_.plan.options.dtype,
                              method_.activations);
    const DecoderBlock block = load_block(loader, 0);
    const std::int64_t tokens = tokens_of_a_sample();
    ActivationSpace space;
    CalibrationStream stream(compute_, spec_, {1, tokens},
                             method_.activations == ActivationType::kF32, space);
    Embedding embedding(loader);
    stream.embed(embedding, some_ids(1, tokens));
    const double forward = seconds_of_forward(stream, block);
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

    const double samples = samples_of(tokens);
    double seconds = samples * passes() * forward * static_cast<double>(spec_.n_layers);
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
