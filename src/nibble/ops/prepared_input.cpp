#include "nibble/ops/prepared_input.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

constexpr std::size_t kNone = kMaxMatmulCalls;  // of the inputs that are made for calls

/// A scale for all rows of x, (tokens, cols): the largest of theirs, or the first that is NaN.
float scale_of_all(Compute& compute, const MatmulInput& input, std::int64_t cols) {
  const auto tokens = static_cast<std::size_t>(input.tokens);
  auto* scales = compute.input_buffers().row_scales.as<float>(tokens);
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    scales[t] = compute.kernels().int8_scale(input.x + t * cols, cols);
  });
  float most = 0;
  for (std::size_t t = 0; t < tokens && !std::isnan(most); ++t) {
    if (!(scales[t] <= most)) most = scales[t];
  }
  return most;
}

}  // namespace

ProductType product_type(const KernelSet& kernels, ActivationType activations,
                         WeightFormat format) {
  const auto index = static_cast<int>(format);
  if (is_int8(activations) && kernels.matmul_int8[index] != nullptr) return ProductType::kInt8;
  const bool rounds = activations != ActivationType::kF32;
  return rounds && kernels.matmul_bf16[index] != nullptr ? ProductType::kBF16 : ProductType::kF32;
}

PreparedInput::PreparedInput(Compute& compute, const MatmulInput& input,
                             std::span<const MatmulCall> calls)
    : compute_(compute), x_(input.x), tokens_(input.tokens), cols_(calls[0].weight->cols) {
  assert(calls.size() <= kMaxMatmulCalls);
  Buffer& buffer = compute.input_buffers().normed;
  const RowNorm* norm = input.norm;
  if (shares_a_scale(calls)) {  // of all rows, which must be known before any is rounded
    const MatmulInput rows = normalized(compute, input, cols_, buffer);
    tensor_scale_ = scale_of_all(compute, rows, cols_);
    x_ = rows.x;
    norm = nullptr;
  }
  float* normed = nullptr;  // (tokens, cols)
  if (norm != nullptr) {
    normed = buffer.as<float>(static_cast<std::size_t>(tokens_ * cols_));
    x_ = normed;
  }
  for (std::size_t i = 0; i < calls.size(); ++i) operands_[i] = operand_of(calls[i]);
  for_each_row(compute, tokens_, [&](std::int64_t t) {
    const std::int64_t at = t * cols_;
    if (normed != nullptr) {
      normalize_row(compute.kernels(), *norm, input.x + at, cols_, normed + at);
    }
    prepare_row(t);
  });
}

bool PreparedInput::shares_a_scale(std::span<const MatmulCall> calls) const {
  return std::any_of(calls.begin(), calls.end(), [&](const MatmulCall& call) {
    return call.activations == ActivationType::kInt8Tensor &&
           product_type(compute_.kernels(), call.activations, call.weight->format) ==
               ProductType::kInt8;
  });
}

PreparedInput::Operand PreparedInput::operand_of(const MatmulCall& call) {
  const WeightView& weight = *call.weight;
  assert(weight.cols == cols_);
  const ProductType type = product_type(compute_.kernels(), call.activations, weight.format);
  if (type == ProductType::kInt8) {
    const std::size_t index = codes_for(call);
    return {type, codes_[index].values, code_stride(), index};
  }
  const bool rounds = call.activations != ActivationType::kF32;
  if (rounds) want_bf16();
  const std::size_t sums = weight.group_size > 0 ? sums_for(weight.group_size, rounds) : kNone;
  if (type == ProductType::kBF16) return {type, bf16_, bf16_stride(), sums};
  return {type, rounds ? want_widened() : x_, cols_, sums};
}

void PreparedInput::want_bf16() {
  if (bf16_ != nullptr) return;
  const auto elements = static_cast<std::size_t>(tokens_ * bf16_stride());
  bf16_ = compute_.input_buffers().bf16.as<BFloat16>(elements);
}

const float* PreparedInput::want_widened() {
  const auto elements = static_cast<std::size_t>(tokens_ * cols_);
  if (widened_ == nullptr) widened_ = compute_.input_buffers().f32.as<float>(elements);
  return widened_;
}

std::size_t PreparedInput::sums_for(std::int64_t group_size, bool of_bf16) {
  for (std::size_t i = 0; i < sums_count_; ++i) {
    if (sums_[i].group_size == group_size && sums_[i].of_bf16 == of_bf16) return i;
  }
  const auto groups = static_cast<std::size_t>(tokens_ * (cols_ / group_size));
  Buffer& buffer = compute_.input_buffers().sums[sums_count_];
  sums_[sums_count_] = {group_size, of_bf16, buffer.as<float>(groups)};
  return sums_count_++;
}

std::size_t PreparedInput::codes_for(const MatmulCall& call) {
  const WeightFormat format = call.weight->format;
  const std::int64_t group_size = call.weight->group_size > 0 ? call.weight->group_size : cols_;
  const bool is_tensor = call.activations == ActivationType::kInt8Tensor;
  for (std::size_t i = 0; i < codes_count_; ++i) {
    if (codes_[i].format == format && codes_[i].group_size == group_size &&
        codes_[i].is_tensor == is_tensor) {
      return i;
    }
  }
  Compute::InputBuffers::Int8& buffers = compute_.input_buffers().int8[codes_count_];
  const auto groups = static_cast<std::size_t>(tokens_ * (cols_ / group_size));
  codes_[codes_count_] = {
      .format = format,
      .group_size = group_size,
      .is_tensor = is_tensor,
      .values = buffers.codes.as<std::int8_t>(static_cast<std::size_t>(tokens_ * code_stride())),
      .scales = buffers.scales.as<float>(groups),
      .sums = buffers.sums.as<std::int32_t>(groups)};
  return codes_count_++;
}

void PreparedInput::prepare_row(std::int64_t t) {
  BFloat16* rounded = bf16_ == nullptr ? nullptr : bf16_ + t * bf16_stride();
  if (rounded != nullptr) compute_.kernels().to_bf16(row(t), cols_, rounded);
  if (widened_ != nullptr) {
    for (std::int64_t c = 0; c < cols_; ++c) widened_[t * cols_ + c] = to_float(rounded[c]);
  }
  for (std::size_t i = 0; i < sums_count_; ++i) sum_groups(t, sums_[i]);
  for (std::size_t i = 0; i < codes_count_; ++i) quantize_row(t, codes_[i]);
}

void PreparedInput::sum_groups(std::int64_t t, const GroupSums& sums) const {
  float* out = sums.values + t * (cols_ / sums.group_size);
  if (sums.of_bf16) {
    compute_.kernels().group_sums_bf16(bf16_ + t * bf16_stride(), cols_, sums.group_size, out);
  } else {
    compute_.kernels().group_sums_f32(row(t), cols_, sums.group_size, out);
  }
}

void PreparedInput::quantize_row(std::int64_t t, const Codes& codes) const {
  const std::int64_t groups = cols_ / codes.group_size;
  compute_.kernels().quantize_int8({.x = row(t),
                                    .cols = cols_,
                                    .group_size = codes.group_size,
                                    .format = codes.format,
                                    .codes = codes.values + t * code_stride(),
                                    .scales = codes.scales + t * groups,
                                    .sums = codes.sums + t * groups,
                                    .scale = codes.is_tensor ? tensor_scale_ : 0});
}

void PreparedInput::describe(std::size_t call, MatmulTask& task) const {
  const Operand& operand = operands_[call];
  task.tokens = tokens_;
  task.x = operand.x;
  task.x_stride = operand.stride;
  task.x_sums = nullptr;
  if (operand.type == ProductType::kInt8) {
    const Codes& codes = codes_[operand.index];
    task.x_scales = codes.scales;
    task.x_code_sums = codes.sums;
  } else if (operand.index != kNone) {
    task.x_sums = sums_[operand.index].values;
  }
}

}  // namespace nibble
