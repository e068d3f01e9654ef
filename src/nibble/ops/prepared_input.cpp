#include "nibble/ops/prepared_input.h"

#include <cassert>

#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

constexpr int kGroupSizes[] = {32, 64, 128};

/// Weights without groups take the last slot.
int group_slot(int group_size) {
  return group_size == 32 ? 0 : group_size == 64 ? 1 : 2;
}

}  // namespace

ActivationType product_type(const KernelSet& kernels, ActivationType activations,
                            WeightFormat format) {
  const auto index = static_cast<int>(format);
  if (activations == ActivationType::kInt8 && kernels.matmul_int8[index] != nullptr) {
    return ActivationType::kInt8;
  }
  const bool rounds = activations != ActivationType::kF32;
  return rounds && kernels.matmul_bf16[index] != nullptr ? ActivationType::kBF16
                                                         : ActivationType::kF32;
}

PreparedInput::PreparedInput(Compute& compute, const MatmulInput& input,
                             std::span<const MatmulCall> calls)
    : compute_(compute),
      activations_(input.never_int8 ? without_int8(compute.activations()) : compute.activations()),
      x_(input.x),
      tokens_(input.tokens),
      cols_(calls[0].weight->cols) {
  for (const MatmulCall& call : calls) {
    const WeightView& weight = *call.weight;
    assert(weight.cols == cols_);
    const ActivationType type = type_for(weight.format);
    if (type == ActivationType::kInt8) {
      add_int8(weight);
      continue;
    }
    (type == ActivationType::kBF16 ? wants_bf16_ : wants_f32_) = true;
    if (weight.group_size > 0) wants_sums_[group_slot(weight.group_size)] = true;
  }
  float* normed = nullptr;  // (tokens, cols)
  if (input.norm != nullptr) {
    normed = compute.input_buffers().normed.as<float>(static_cast<std::size_t>(tokens_ * cols_));
    x_ = normed;
  }
  allocate_floats();
  for_each_row(compute, tokens_, [&](std::int64_t t) {
    const std::int64_t at = t * cols_;
    if (normed != nullptr) {
      normalize_row(compute.kernels(), *input.norm, input.x + at, cols_, normed + at);
    }
    prepare_row(t);
  });
}

void PreparedInput::add_int8(const WeightView& weight) {
  const int slot = group_slot(weight.group_size);
  const auto format = static_cast<int>(weight.format);
  Int8& input = int8_[format][slot];
  if (input.codes != nullptr) return;
  Compute::InputBuffers::Int8& buffers = compute_.input_buffers().int8[format][slot];
  input.group_size = weight.group_size > 0 ? weight.group_size : cols_;
  const auto groups = static_cast<std::size_t>(tokens_ * (cols_ / input.group_size));
  input.codes = buffers.codes.as<std::int8_t>(static_cast<std::size_t>(tokens_ * code_stride()));
  input.scales = buffers.scales.as<float>(groups);
  input.sums = buffers.sums.as<std::int32_t>(groups);
}

void PreparedInput::allocate_floats() {
  Compute::InputBuffers& buffers = compute_.input_buffers();
  const auto elements = static_cast<std::size_t>(tokens_ * cols_);
  const bool rounds = activations_ != ActivationType::kF32;
  if (wants_bf16_ || (wants_f32_ && rounds)) {
    bf16_ = buffers.bf16.as<BFloat16>(static_cast<std::size_t>(tokens_ * bf16_stride()));
  }
  if (wants_f32_ && rounds) widened_ = buffers.f32.as<float>(elements);
  f32_ = rounds ? widened_ : x_;
  for (int slot = 0; slot < 3; ++slot) {
    if (!wants_sums_[slot]) continue;
    sums_[slot] =
        buffers.sums[slot].as<float>(elements / static_cast<std::size_t>(kGroupSizes[slot]));
  }
}

void PreparedInput::prepare_row(std::int64_t t) {
  BFloat16* rounded = bf16_ == nullptr ? nullptr : bf16_ + t * bf16_stride();
  if (rounded != nullptr) compute_.kernels().to_bf16(row(t), cols_, rounded);
  if (widened_ != nullptr) {
    for (std::int64_t c = 0; c < cols_; ++c) widened_[t * cols_ + c] = to_float(rounded[c]);
  }
  sum_groups(t);
  for (int format = 0; format < kWeightFormats; ++format) {
    for (const Int8& input : int8_[format]) {
      if (input.codes != nullptr) quantize_row(t, static_cast<WeightFormat>(format), input);
    }
  }
}

void PreparedInput::sum_groups(std::int64_t t) {
  for (int slot = 0; slot < 3; ++slot) {
    if (!wants_sums_[slot]) continue;
    const std::int64_t group_size = kGroupSizes[slot];
    float* sums = sums_[slot] + t * (cols_ / group_size);
    if (bf16_ != nullptr) {
      compute_.kernels().group_sums_bf16(bf16_ + t * bf16_stride(), cols_, group_size, sums);
    } else {
      compute_.kernels().group_sums_f32(row(t), cols_, group_size, sums);
    }
  }
}

void PreparedInput::quantize_row(std::int64_t t, WeightFormat format, const Int8& input) {
  const std::int64_t groups = cols_ / input.group_size;
  compute_.kernels().quantize_int8({.x = row(t),
                                    .cols = cols_,
                                    .group_size = input.group_size,
                                    .format = format,
                                    .codes = input.codes + t * code_stride(),
                                    .scales = input.scales + t * groups,
                                    .sums = input.sums + t * groups});
}

void PreparedInput::describe(const WeightView& weight, MatmulTask& task) const {
  const int slot = group_slot(weight.group_size);
  task.tokens = tokens_;
  const ActivationType type = type_for(weight.format);
  if (type == ActivationType::kInt8) {
    const Int8& input = int8_[static_cast<int>(weight.format)][slot];
    task.x = input.codes;
    task.x_stride = code_stride();
    task.x_scales = input.scales;
    task.x_code_sums = input.sums;
    return;
  }
  const bool is_bf16 = type == ActivationType::kBF16;
  task.x = is_bf16 ? static_cast<const void*>(bf16_) : f32_;
  task.x_stride = is_bf16 ? bf16_stride() : cols_;
  task.x_sums = weight.group_size > 0 ? sums_[slot] : nullptr;
}

}  // namespace nibble
