#include "nibble/models/weight_loader.h"

#include <algorithm>
#include <array>

#include "nibble/core/error.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {

WeightLoader::WeightLoader(const Checkpoint& checkpoint, Compute& compute, DType dtype,
                           std::optional<ActivationType> activations)
    : checkpoint_(checkpoint), compute_(compute), dtype_(dtype), activations_(activations) {}

Weight WeightLoader::dense(const CheckpointTensor& tensor) const {
  const std::int64_t rows = tensor.view.rows();
  const std::int64_t cols = tensor.view.cols();
  Weight weight{.view = {{.format = dense_format(dtype_), .rows = rows, .cols = cols}, {}},
                .storage = {}};
  const bool aligned =
      reinterpret_cast<std::uintptr_t>(tensor.view.data) % dtype_layout(dtype_).bytes == 0;
  if (!tensor.rows && tensor.view.dtype == dtype_ && tensor.interleaved_heads == 0 && aligned) {
    weight.view.parts[kCodesPart] = tensor.view.data;
    return weight;
  }
  const std::int64_t row_bytes = cols * dtype_layout(dtype_).bytes;
  weight.storage = Buffer(static_cast<std::size_t>(rows * row_bytes));
  weight.view.parts[kCodesPart] = weight.storage.data();
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

std::size_t aligned_to_line(std::int64_t bytes) {
  return static_cast<std::size_t>((bytes + 63) / 64 * 64);
}

}  // namespace

/// Scales that are neither bfloat16 nor float16 numbers: no packed format would be exact.
Weight WeightLoader::dequantized(const ForeignLayer& foreign) const {
  const IntegerMatrix& matrix = foreign.matrix;
  const std::int64_t row_bytes = matrix.cols * dtype_layout(dtype_).bytes;
  Weight weight{
      .view = {{.format = dense_format(dtype_), .rows = matrix.rows, .cols = matrix.cols}, {}},
      .storage = Buffer(static_cast<std::size_t>(matrix.rows * row_bytes))};
  weight.view.parts[kCodesPart] = weight.storage.data();
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
  const WeightLayout& layout = plan.layout;
  const PartLayouts parts = codec_of(layout.format).parts(layout);
  const std::int64_t blocks = block_count(layout);
  std::array<std::size_t, kWeightParts> places{};
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    places[i] = bytes;
    bytes += aligned_to_line(blocks * parts[i].block_bytes());
  }
  Weight weight{.view = {layout, {}}, .storage = Buffer(bytes)};
  std::byte* data = weight.storage.data();
  for (std::size_t i = 0; i < parts.size(); ++i) weight.view.parts[i] = data + places[i];
  compute_.pool().parallel_for(blocks, [&](std::int64_t block, int) {
    BlockSpans out;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto block_bytes = static_cast<std::size_t>(parts[i].block_bytes());
      out[i] = {data + places[i] + static_cast<std::size_t>(block) * block_bytes, block_bytes};
    }
    repack_block(foreign.matrix, plan, block * kRowBlock, out);
  });
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
  layer.activations = checkpoint_.activations(spec, activations_);
  if (const auto packed = checkpoint_.packed_weight(spec)) {
    layer.weight.view = packed->view();
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

Norm WeightLoader::norm(const std::string& name, std::int64_t size) const {
  const NormSpec& kind = spec().norm;
  const auto n = static_cast<std::size_t>(size);
  Norm norm{.kind = kind.kind, .weight = std::vector<float>(n, 1.0f), .eps = kind.eps};
  if (kind.has_weight) norm.weight = vector(name + ".weight", size);
  for (float& weight : norm.weight) weight += kind.weight_offset;
  if (norm.kind == NormKind::kLayer) norm.bias.resize(n);
  if (kind.has_bias) norm.bias = vector(name + ".bias", size);
  return norm;
}

std::vector<float> WeightLoader::vector(const std::string& name, std::int64_t size) const {
  std::vector<float> values(static_cast<std::size_t>(size));
  read_vector(checkpoint_.float_tensor(name, {size}), values);
  round_to_dtype(dtype_, values);
  return values;
}

}  // namespace nibble
