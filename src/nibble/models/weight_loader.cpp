#include "nibble/models/weight_loader.h"

#include <algorithm>
#include <cstring>

#include "nibble/core/error.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
WeightLoader::WeightLoader(const Checkpoint& checkpoint, Compute& compute, DType dtype)
    : checkpoint_(checkpoint), compute_(compute), dtype_(dtype) {}

WeightFormat dense_format(DType dtype) {
  return dtype == DType::kF32   ? WeightFormat::kF32
         : dtype == DType::kF16 ? WeightFormat::kF16
                                : WeightFormat::kBF16;
}

void round_to_dtype(DType dtype, std::span<float> values) {
  if (dtype == DType::kF32) return;
  for (float& value : values) {
    value = dtype == DType::kF16 ? to_float(to_float16(value)) : round_to_bfloat16(value);
  }
}

void store_as_dtype(DType dtype, std::span<const float> values, std::byte* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, values.data(), values.size_bytes());
  } else if (dtype == DType::kF16) {
    auto* to = reinterpret_cast<Float16*>(out);
    for (const float value : values) *to++ = to_float16(value);
  } else {
    auto* to = reinterpret_cast<BFloat16*>(out);
    for (const float value : values) *to++ = to_bfloat16(value);
  }
}

Weight WeightLoader::dense(const CheckpointTensor& tensor) const {
  const std::int64_t rows = tensor.view.rows();
  const std::int64_t cols = tensor.view.cols();
  Weight weight{.view = {.format = dense_format(dtype_), .rows = rows, .cols = cols}};
  const bool aligned =
      reinterpret_cast<std::uintptr_t>(tensor.view.data) % dtype_layout(dtype_).bytes == 0;
  if (tensor.view.dtype == dtype_ && tensor.interleaved_heads == 0 && aligned) {
    weight.view.data = tensor.view.data;
    return weight;
  }
  const std::int64_t row_bytes = cols * dtype_layout(dtype_).bytes;
  weight.storage = Buffer(static_cast<std::size_t>(rows * row_bytes));
  weight.view.data = weight.storage.data();
  constexpr std::int64_t kRows = 64;
  compute_.pool().parallel_for((rows + kRows - 1) / kRows, [&](std::int64_t item, int thread) {
    const std::int64_t first = item * kRows;
    const std::int64_t count = std::min(kRows, rows - first);
    const auto elements = static_cast<std::size_t>(count * cols);
    auto* values =
        reinterpret_cast<float*>(compute_.thread_scratch(thread, elements * sizeof(float)));
    read_rows(tensor, first, count, values);
    store_as_dtype(dtype_, {values, elements}, weight.storage.data() + first * row_bytes);
  });
  checkpoint_.tensors().drop({tensor.view.data, tensor.view.bytes});
  return weight;
}

namespace {

WeightView packed_view(const LinearSpec& spec, const PackedTensors& packed) {
  WeightView view{.format = packed_format(packed.layout),
                  .rows = spec.out,
                  .cols = spec.in,
                  .data = packed.codes.view.data,
                  .group_size = packed_group_size(packed.layout)};
  const std::byte* scales = packed.scales.view.data;
  if (view.format == WeightFormat::kW8) {
    view.row_scales = reinterpret_cast<const float*>(scales);
  } else {
    view.scales = reinterpret_cast<const BFloat16*>(scales);
    view.zeros = reinterpret_cast<const std::uint8_t*>(packed.zeros.view.data);
  }
  return view;
}

std::size_t aligned_to_line(std::int64_t bytes) {
  return static_cast<std::size_t>((bytes + 63) / 64 * 64);
}

/// The piece of a part that is one block's, `bytes` long.
template <typename T>
std::span<T> piece(std::byte* part, std::int64_t block, std::int64_t bytes) {
  return {reinterpret_cast<T*>(part + block * bytes), static_cast<std::size_t>(bytes) / sizeof(T)};
}

/// Bytes of the parts of one block of 16 rows.
struct PartSizes {
  std::int64_t codes;
  std::int64_t scales;
  std::int64_t zeros;
};

PartSizes part_sizes(const PackedLayout& layout) {
  const auto* group = std::get_if<PackedGroup>(&layout);
  return std::visit(
      [&](const auto& any) -> PartSizes {
        return {any.block_code_bytes(), any.block_scale_bytes(),
                group != nullptr ? group->block_zero_bytes() : 0};
      },
      layout);
}

WeightView repacked_view(const RepackPlan& plan, const std::byte* codes, const std::byte* scales,
                         const std::byte* zeros) {
  WeightView view{.format = packed_format(plan.layout), .data = codes};
  std::visit(
      [&](const auto& layout) {
        view.rows = layout.rows;
        view.cols = layout.cols;
      },
      plan.layout);
  if (view.format == WeightFormat::kW8) {
    view.row_scales = reinterpret_cast<const float*>(scales);
    return view;
  }
  view.group_size = packed_group_size(plan.layout);
  view.zeros = reinterpret_cast<const std::uint8_t*>(zeros);
  if (plan.f16_scales) {
    view.f16_scales = reinterpret_cast<const Float16*>(scales);
  } else {
    view.scales = reinterpret_cast<const BFloat16*>(scales);
  }
  return view;
}

}  // namespace

/// Scales that are neither bfloat16 nor float16 numbers: no packed format would be exact.
Weight WeightLoader::dequantized(const ForeignLayer& foreign) const {
  const IntegerMatrix& matrix = foreign.matrix;
  const std::int64_t row_bytes = matrix.cols * dtype_layout(dtype_).bytes;
  Weight weight{.view = {.format = dense_format(dtype_), .rows = matrix.rows, .cols = matrix.cols},
                .storage = Buffer(static_cast<std::size_t>(matrix.rows * row_bytes))};
  weight.view.data = weight.storage.data();
  const std::int64_t blocks = (matrix.rows + kRowBlock - 1) / kRowBlock;
  compute_.pool().parallel_for(blocks, [&](std::int64_t block, int) {
    const std::int64_t first = block * kRowBlock;
    const std::int64_t count = std::min(kRowBlock, matrix.rows - first);
    std::vector<float> values(static_cast<std::size_t>(count * matrix.cols));
    dequantize_integers(matrix, first, count, values.data());
    store_as_dtype(dtype_, values, weight.storage.data() + first * row_bytes);
  });
  return weight;
}

Weight WeightLoader::repacked(const ForeignLayer& foreign, const RepackPlan& plan) const {
  const PartSizes sizes = part_sizes(plan.layout);
  const std::int64_t blocks = (foreign.matrix.rows + kRowBlock - 1) / kRowBlock;
  const std::size_t scales_at = aligned_to_line(blocks * sizes.codes);
  const std::size_t zeros_at = scales_at + aligned_to_line(blocks * sizes.scales);
  Weight weight{.view = {}, .storage = Buffer(zeros_at + aligned_to_line(blocks * sizes.zeros))};
  std::byte* codes = weight.storage.data();
  std::byte* scales = codes + scales_at;
  std::byte* zeros = codes + zeros_at;
  const bool by_row = std::holds_alternative<Int8PerChannel>(plan.layout);
  compute_.pool().parallel_for(blocks, [&](std::int64_t block, int) {
    RepackedBlock out{.codes = piece<std::uint8_t>(codes, block, sizes.codes),
                      .scales = {},
                      .zeros = piece<std::uint8_t>(zeros, block, sizes.zeros),
                      .row_scales = {}};
    if (by_row) {
      out.row_scales = piece<float>(scales, block, sizes.scales);
    } else {
      out.scales = piece<std::uint16_t>(scales, block, sizes.scales);
    }
    repack_block(foreign.matrix, plan, block * kRowBlock, out);
  });
  weight.view = repacked_view(plan, codes, scales, zeros);
  return weight;
}

void WeightLoader::load_foreign(const ForeignLayer& foreign, Linear& layer) const {
  if (const auto plan = plan_repack(foreign.matrix)) {
    layer.weight = repacked(foreign, *plan);
    if (!plan->input_order.empty()) layer.order = {foreign.matrix.cols, plan->input_order};
  } else {
    layer.weight = dequantized(foreign);
  }
  const TensorView& codes = foreign.matrix.code_tensor;
  checkpoint_.tensors().drop({codes.data, codes.bytes});
}

Linear WeightLoader::linear(const LinearSpec& spec) const {
  Linear layer;
  if (const auto packed = checkpoint_.packed_weight(spec)) {
    layer.weight.view = packed_view(spec, *packed);
  } else if (const auto foreign = checkpoint_.foreign_weight(spec)) {
    load_foreign(*foreign, layer);
  } else {
    layer.weight = dense(checkpoint_.dense_weight(spec));
  }
  if (spec.bias) layer.bias = vector(spec.name + ".bias", spec.out);
  return layer;
}

void WeightLoader::drop(const Linear& layer) const {
  for (const WeightPart& part : weight_parts(layer.weight.view)) {
    checkpoint_.tensors().drop({part.data, static_cast<std::size_t>(part.bytes())});
  }
}

Norm WeightLoader::norm(const NormModule& module) const {
  const NormSpec& kind = spec().norm;
  const auto n = static_cast<std::size_t>(module.size);
  Norm norm{.kind = kind.kind, .weight = std::vector<float>(n, 1.0f), .eps = kind.eps};
  if (kind.has_weight) norm.weight = vector(module.name + ".weight", module.size);
  for (float& weight : norm.weight) weight += kind.weight_offset;
  if (norm.kind == NormKind::kLayer) norm.bias.resize(n);
  if (kind.has_bias) norm.bias = vector(module.name + ".bias", module.size);
  return norm;
}

std::vector<float> WeightLoader::vector(const std::string& name, std::int64_t size) const {
  std::vector<float> values(static_cast<std::size_t>(size));
  read_vector(checkpoint_.float_tensor(name, {size}), values);
  round_to_dtype(dtype_, values);
  return values;
}

}  // namespace nibble
