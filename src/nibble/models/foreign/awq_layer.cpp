#include "nibble/models/foreign/awq_layer.h"

namespace nibble::foreign {
namespace {

void check_size(const ModuleParts& parts, const AwqScheme& scheme) {
  const LinearSpec& linear = parts.linear();
  const int in_word = 32 / scheme.bits;
  if (scheme.layout == AwqLayout::kGemm && linear.out % in_word != 0) {
    parts.refuse("{} outputs, AWQ needs a multiple of {}", linear.out, in_word);
  }
  if (scheme.layout == AwqLayout::kGemv && linear.in % in_word != 0) {
    parts.refuse("{} inputs, AWQ needs a multiple of {}", linear.in, in_word);
  }
  if (scheme.group_size > 0 && linear.in % scheme.group_size != 0) {
    parts.refuse("{} inputs, AWQ needs a multiple of \"group_size\", {}", linear.in,
                 scheme.group_size);
  }
}

void find_gemm(ModuleParts& parts, IntegerMatrix& matrix) {
  matrix.codes = IntegerMatrix::Codes::kAwq;
  matrix.zeros = IntegerMatrix::Zeros::kAwq;
  const std::int64_t words = matrix.rows * matrix.bits / 32;
  matrix.code_tensor = parts.shaped(".qweight", {DType::kI32}, {matrix.cols, words});
  matrix.zero_tensor = parts.shaped(".qzeros", {DType::kI32}, {matrix.groups, words});
  matrix.scale_tensor = parts.shaped(".scales", {DType::kF16, DType::kBF16, DType::kF32},
                                     {matrix.groups, matrix.rows});
  matrix.scale_group_step = matrix.rows;
}

/// Rows of zero points and scales are filled up: AutoAWQ, awq/modules/linear/gemv.py.
void find_gemv(ModuleParts& parts, IntegerMatrix& matrix) {
  matrix.codes = IntegerMatrix::Codes::kRows;
  matrix.zeros = IntegerMatrix::Zeros::kAlong;
  matrix.code_tensor = parts.shaped(".qweight", {DType::kI32}, {matrix.rows, matrix.cols / 8});
  matrix.zero_tensor = parts.matrix(".qzeros", {DType::kI32});
  matrix.scale_tensor = parts.matrix(".scales", {DType::kF16, DType::kBF16, DType::kF32});
  const std::int64_t words = (matrix.groups + 7) / 8;
  const TensorView& zeros = matrix.zero_tensor;
  const TensorView& scales = matrix.scale_tensor;
  if (zeros.shape[0] != matrix.rows || zeros.shape[1] < words) {
    parts.refuse_shape(".qzeros", zeros, {matrix.rows, words});
  }
  if (scales.shape[0] != matrix.rows || scales.shape[1] < matrix.groups) {
    parts.refuse_shape(".scales", scales, {matrix.rows, matrix.groups});
  }
  matrix.scale_row_step = scales.shape[1];
  matrix.scale_group_step = 1;
}

}  // namespace

std::optional<ForeignLayer> find_awq(ModuleParts& parts, const AwqScheme& scheme) {
  if (!parts.find(".qweight")) return std::nullopt;
  check_size(parts, scheme);
  ForeignLayer layer{.format = fmt::format("awq w{}", scheme.bits),
                     .group_size = static_cast<int>(scheme.group_size)};
  IntegerMatrix& matrix = layer.matrix;
  matrix.bits = scheme.bits;
  matrix.rows = parts.linear().out;
  matrix.cols = parts.linear().in;
  matrix.groups = count_groups(matrix.cols, scheme.group_size);
  scheme.layout == AwqLayout::kGemm ? find_gemm(parts, matrix) : find_gemv(parts, matrix);
  matrix.group_of = parts.group_of(scheme.group_size);
  layer.tensors = parts.take_names();
  return layer;
}

}  // namespace nibble::foreign
