#include "nibble/quant/transforms/block_samples.h"

namespace nibble {

const float* BlockSamples::attention_input(std::int64_t sample) {
  stream_.load(sample);
  return stream_.attention_input(block_);
}

const float* BlockSamples::attention_out_input(std::int64_t sample) {
  stream_.load(sample);
  const float* seen = stream_.run_attention(block_);
  if (moves_on_) stream_.store(sample);
  return seen;
}

void BlockSamples::load_behind_attention(std::int64_t sample) {
  stream_.load(sample);
  if (!moves_on_) stream_.run_attention(block_);
}

const float* BlockSamples::mlp_input(std::int64_t sample) {
  load_behind_attention(sample);
  return stream_.mlp_input(block_);
}

const float* BlockSamples::down_input(std::int64_t sample) {
  load_behind_attention(sample);
  const float* seen = stream_.run_mlp(block_);
  if (moves_on_) stream_.store(sample);
  return seen;
}

}  // namespace nibble
