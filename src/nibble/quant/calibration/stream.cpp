#include "nibble/quant/calibration/stream.h"

#include <cstring>

#include "nibble/models/rope_frequencies.h"
#include "nibble/ops/input_observer.h"
#include "nibble/ops/linear_device.h"

namespace nibble {
namespace {

/// Copies the input of one layer while it runs.
class InputCopy : public InputObserver {
 public:
  InputCopy(Compute& compute, const Linear& layer, Buffer& to)
      : compute_(compute), layer_(layer), to_(to) {
    compute_.set_input_observer(this);
  }
  ~InputCopy() override { compute_.set_input_observer(nullptr); }
  InputCopy(const InputCopy&) = delete;
  InputCopy& operator=(const InputCopy&) = delete;

  void observe(const ObservedInput& input) override {
    if (input.calls[0].weight != &layer_.weight.view) return;
    const auto elements = static_cast<std::size_t>(input.tokens * input.features);
    std::memcpy(to_.as<float>(elements), input.x, elements * sizeof(float));
  }

 private:
  Compute& compute_;
  const Linear& layer_;
  Buffer& to_;
};

Pass make_pass(const ModelSpec& spec) {
  return spec.rope ? Pass(Rope(rope_frequencies(*spec.rope, spec.head_dim))) : Pass();
}

}  // namespace

CalibrationStream::CalibrationStream(Compute& compute, const ModelSpec& spec,
                                     const CalibrationSize& size, bool is_exact)
    : compute_(compute),
      width_(spec.hidden),
      states_(size.samples, size.tokens, spec.hidden, is_exact),
      cache_({.n_layers = 1,
              .n_kv_heads = spec.n_kv_heads,
              .head_dim = spec.head_dim,
              .capacity = size.tokens},
             is_exact ? KvType::kF32 : KvType::kBF16),
      pass_(make_pass(spec)) {
  cache_.require(size.tokens);
  pass_.begin();
  pass_.add(cache_, size.tokens);
}

void CalibrationStream::embed(Embedding& embedding,
                              const std::vector<std::vector<std::int32_t>>& ids) {
  for (std::int64_t sample = 0; sample < samples(); ++sample) {
    embedding.run(compute_, ids[static_cast<std::size_t>(sample)], pass_.positions(), hidden());
    store(sample);
  }
}

const float* CalibrationStream::normed(const Norm& norm) {
  auto* out = seen_.as<float>(static_cast<std::size_t>(tokens() * width_));
  norm.apply(compute_, hidden(), tokens(), out);
  return out;
}

const float* CalibrationStream::attention_input(const DecoderBlock& block) {
  return block.norm_first ? normed(block.input_norm) : hidden();
}

const float* CalibrationStream::run_attention(const DecoderBlock& block) {
  const InputCopy copy(compute_, block.attention.o, seen_);
  block.run_attention(compute_, pass_, 0, hidden());
  return seen_.as<float>(0);
}

const float* CalibrationStream::mlp_input(const DecoderBlock& block) {
  return block.norm_first ? normed(block.post_norm) : hidden();
}

const float* CalibrationStream::run_mlp(const DecoderBlock& block) {
  const InputCopy copy(compute_, block.mlp.down, seen_);
  block.run_mlp(compute_, pass_, hidden());
  return seen_.as<float>(0);
}

const float* CalibrationStream::head_input(const Norm* norm) {
  return norm != nullptr ? normed(*norm) : hidden();
}

}  // namespace nibble
