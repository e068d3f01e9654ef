#include "nibble/quant/memory_cost.h"

#include <algorithm>

#include "nibble/core/process.h"
#include "nibble/quant/forecast.h"
#include "nibble/quant/rounders/round_matrix.h"
#include "nibble/quant/tensor_writer.h"

namespace nibble {
namespace {

constexpr std::int64_t kCopiedBytes = 20 << 20;  // of dense matrices, as they pass through
constexpr std::int64_t kSampledTokens = 1024;    // for clipping, at the most

class MemoryEstimate {
 public:
  MemoryEstimate(const QuantizeJob& job, const CalibrationSize& size, int threads)
      : job_(job),
        size_(size),
        threads_(threads),
        spec_(job.checkpoint.spec()),
        method_(job.method.blocks) {
    for (const LinearSpec& linear : spec_.linears()) {
      widest_ = std::max(widest_, linear.in);
      if (linear.name != spec_.head.name) block_weights_ += linear.out * linear.in;
    }
    block_weights_ /= std::max<std::int64_t>(1, spec_.n_layers);
  }

  MemoryCost run() const {
    MemoryCost cost;
    const std::int64_t blocks = method_.goes_by_blocks() ? of_a_block() + of_transforms() : 0;
    cost.working = std::max(kCopiedBytes, of_rows() + blocks);
    cost.activations = of_activations();
    if (job_.method.distillation) cost.learning = of_learning();
    return cost;
  }

 private:
  /// Rows of one matrix: as they are read, as floats on each thread, packed.
  std::int64_t of_rows() const {
    constexpr std::int64_t kReadAndPacked = 3;  // bytes a weight: of bfloat16 and about one
    constexpr std::int64_t kOnAThread = 24;     // of floats, targets, errors and integers
    std::int64_t widest = 0;
    for (const LayerPlan* layer : job_.plan.packed()) widest = std::max(widest, layer->linear.in);
    return widest * (kRowsPerSlice * kReadAndPacked + threads_ * kRowsAtATime * kOnAThread);
  }

  /// A block's weights, as they are and packed, what its rounder keeps of the widest input, and one
  /// sample on its way.
  std::int64_t of_a_block() const {
    const InputNeeds needs = method_.rounder->needs();
    // Of products: the sum, its inverse's factor and what that is made from; with the other
    // model's: their sum and the correction.
    const std::int64_t matrices = needs == InputNeeds::kCross      ? 5
                                  : needs == InputNeeds::kProducts ? 3
                                                                   : 0;
    const std::int64_t forward =
        method_.looks_at_inputs() ? size_.tokens * (spec_.hidden + 3 * spec_.intermediate) * 4 : 0;
    return block_weights_ * 3 + matrices * widest_ * widest_ * 4 + forward;
  }

  /// The weights as floats, those of the layers that are tried once more; and of a search the
  /// widest input's products and some tokens of each.
  std::int64_t of_transforms() const {
    if (method_.transforms.empty()) return 0;
    const std::int64_t floats = block_weights_ * 4;
    if (!method_.transforms_look_at_inputs()) return floats;
    const std::int64_t tried = 2 * spec_.up.in * spec_.up.out * 4;
    const std::int64_t inputs = spec_.q.in + spec_.o.in + spec_.up.in + spec_.down.in;
    return floats + tried + widest_ * widest_ * 4 + kSampledTokens * inputs * 4;
  }

  std::int64_t of_activations() const {
    const auto bytes = [&](std::int64_t width) {
      return ActivationShape{size_.samples, size_.tokens, width,
                             method_.activations == ActivationType::kF32}
          .bytes();
    };
    std::int64_t all = 0;
    if (method_.runs_original()) all += bytes(spec_.hidden);
    if (method_.runs_quantized()) all += bytes(spec_.hidden) + bytes(widest_in_a_block());
    return all;
  }
  std::int64_t widest_in_a_block() const { return std::max(spec_.o.in, spec_.down.in); }

  /// Both models, mapped; what is learned of each scale; and a sequence: what goes into each block,
  /// its logits, one block on the way back.
  std::int64_t of_learning() const {
    constexpr std::int64_t kBytesALearnedNumber = 20;
    const QuantizeForecast forecast = forecast_quantization(job_.checkpoint, job_.plan);
    std::int64_t scales = 0;
    for (const LayerPlan* layer : job_.plan.packed()) {
      if (layer->layout.group_size > 0) {
        scales += layer->layout.rows * (layer->layout.cols / layer->layout.group_size);
      }
    }
    const std::int64_t sequence =
        size_.tokens *
        (spec_.n_layers * spec_.hidden + spec_.vocab + 8 * (spec_.hidden + spec_.intermediate)) * 4;
    return forecast.bytes_in + forecast.bytes_out + scales * kBytesALearnedNumber + sequence;
  }

  const QuantizeJob& job_;
  CalibrationSize size_;
  int threads_;
  const ModelSpec& spec_;
  const BlockMethod& method_;
  std::int64_t block_weights_ = 0;
  std::int64_t widest_ = 0;
};

}  // namespace

MemoryCost memory_cost(const QuantizeJob& job, const CalibrationSize& size, int threads) {
  return MemoryEstimate(job, size, threads).run();
}

std::int64_t activation_memory(const QuantizeJob& job, const MemoryCost& cost) {
  const std::int64_t all = job.max_memory > 0 ? job.max_memory - peak_rss_bytes()
                                              : memory_info().available_bytes / 4 * 3;
  return std::max<std::int64_t>(0, all - cost.working);
}

ActivationSpace activation_space(const QuantizeJob& job, const CalibrationSize& size, int threads,
                                 const std::filesystem::path& folder) {
  return {folder, activation_memory(job, memory_cost(job, size, threads))};
}

}  // namespace nibble
