#include "nibble/npu/time_model.h"

#include <algorithm>

#include "nibble/npu/launches.h"

namespace nibble::npu {
namespace {

constexpr double kMsPerS = 1e3;
constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
// Of a bf16 head on the CPU, with a prompt's rows; not fitted.
constexpr double kHeadFlops = 300e9;
// Where a device's parameters have none: what groups below 128 leave of the weights' bandwidth.
constexpr double kSmallGroupBandwidth = 0.62;

/// What the fast stack's attention is padded to: a power of two from 256 on.
std::int64_t attention_bucket(std::int64_t m) {
  for (const std::int64_t bucket : {256, 512, 1024, 2048}) {
    if (m <= bucket) return bucket;
  }
  return m;
}

}  // namespace

double ModelledTime::total_s(const Completion& completion) const {
  const double steps = static_cast<double>(std::max<std::int64_t>(completion.new_tokens - 1, 0));
  return (prefill_ms + steps * token_ms) / kMsPerS;
}

TimeModel::TimeModel(const ModelShape& shape, const Recipe& recipe, const Parameters& parameters)
    : shape_(shape), recipe_(recipe), parameters_(parameters) {}

double TimeModel::launches_ms(std::int64_t m) const {
  const bool w4 = recipe_.precision == Precision::kW4ABF16;
  const double launch_ms = parameter("tL");
  double ms = 0;
  for (const Product& product : npu_products(shape_, recipe_)) {
    const Tile tile = tile_of(product, recipe_);
    const auto size = static_cast<double>(tile.depth * tile.cols);
    double bandwidth = parameter("BW") * kGiga;
    double rate = parameter("R") * kTera;
    if (w4 && product.group_size < 128) {
      bandwidth *= parameter("g32", kSmallGroupBandwidth);
      rate *= parameter("r32", 1);
    }
    const double read =
        bytes_per_weight(recipe_.precision, product.group_size) * size / bandwidth * kMsPerS;
    double launch = 0;  // of all row blocks with one tile
    for (const std::int64_t rows : row_blocks(m, recipe_)) {
      const double multiply = 2 * static_cast<double>(rows) * size / rate * kMsPerS;
      launch += launch_ms + (w4 ? std::max(read, multiply) : read + multiply);
    }
    ms += static_cast<double>(tile_count(product, tile)) * launch;
  }
  return ms;
}

/// Overhead of each layer, what goes with each element that goes in and out of the block's products
/// (conversions, norms, activations), and the head where it is the CPU's.
double TimeModel::cpu_ms(std::int64_t m) const {
  double ms = static_cast<double>(shape_.layers * shape_.hidden) / 4096 * parameter("tY", 0);
  double elements = 0;
  for (const Product& product : npu_products(shape_, recipe_)) {
    if (!product.is_head) elements += static_cast<double>(m * (product.depth + product.cols));
  }
  ms += parameter("e", 0) * 1e-6 * elements;  // e: nanoseconds
  if (!recipe_.head_on_npu) {
    const auto weights = static_cast<double>(shape_.vocab * shape_.hidden);
    ms += std::max(2 * weights / (parameter("Bc") * kGiga),
                   2 * static_cast<double>(m) * weights / kHeadFlops) *
          kMsPerS;
  }
  return ms;
}

double TimeModel::fast_attention_ms(std::int64_t m) const {
  const std::int64_t bucket = attention_bucket(m);
  const auto rows = static_cast<double>(bucket);
  const auto width = static_cast<double>(shape_.heads * shape_.head_dim);
  double ms = static_cast<double>(shape_.layers) * 4 * rows * rows * width /
              (parameter("A") * kTera) * kMsPerS;
  if (m != bucket) ms += parameter("pad0") + parameter("pad1") * rows;
  return ms;
}

double TimeModel::attention_ms(std::int64_t m) const {
  constexpr std::int64_t kMostOfCpu =
      128;  // tokens: longer prompts of the fast stack are the NPU's
  if (recipe_.stack == Stack::kFast && m > kMostOfCpu) return fast_attention_ms(m);
  const std::optional<double> rate = parameters_.find("F", recipe_);
  if (!rate) return 0;  // too little to be determined
  const double faster = recipe_.flash_attention_plus ? parameter("phi", 1) : 1;
  const auto rows = static_cast<double>(m);
  const auto per_pair = static_cast<double>(shape_.heads * (shape_.head_dim + 128) * shape_.layers);
  return 2 * rows * rows * per_pair / (*rate * faster * kGiga) * kMsPerS;
}

double TimeModel::prompt_ms(std::int64_t m) const {
  return launches_ms(m) + cpu_ms(m) + attention_ms(m);
}

double TimeModel::step_ms(double context) const {
  const double element_bytes = recipe_.precision == Precision::kW4ABF16 ? 2 : 4;
  const double cache = 2 * static_cast<double>(shape_.layers * shape_.kv_heads * shape_.head_dim) *
                       context * element_bytes;
  return launches_ms(1) + cpu_ms(1) + cache / (parameter("Bkv") * kGiga) * kMsPerS;
}

ModelledTime TimeModel::completion(const Completion& completion) const {
  ModelledTime time{prompt_ms(completion.prompt),
                    step_ms(static_cast<double>(completion.prompt) +
                            static_cast<double>(completion.new_tokens) / 2)};
  const std::optional<double> slower = parameters_.find("s", recipe_);
  const std::optional<double> most = parameters_.find("X", recipe_);
  if (!completion.cold_start || !slower || !most) return time;
  // At 1 / s of its speed until X milliseconds are lost, the prompt's first.
  const double lost = std::min((*slower - 1) * time.prefill_ms, *most);
  const auto steps = static_cast<double>(completion.new_tokens - 1);
  if (steps > 0) {
    time.token_ms += std::min((*slower - 1) * time.token_ms * steps, *most - lost) / steps;
  }
  time.prefill_ms += lost;
  return time;
}

}  // namespace nibble::npu
