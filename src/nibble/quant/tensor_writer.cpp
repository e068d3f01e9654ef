#include "nibble/quant/tensor_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/quant/packed_contents.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

static_assert(kRowsPerSlice % kRowsAtATime == 0);

/// A packed matrix in memory of its own, filled slice by slice.
class PackedCopy {
 public:
  explicit PackedCopy(const WeightLayout& layout)
      : layout_(layout), parts_(codec_of(layout.format).parts(layout)) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      places_[i] = bytes;
      const auto size = static_cast<std::size_t>(block_count(layout) * parts_[i].block_bytes());
      bytes += (size + 63) / 64 * 64;
    }
    memory_ = Buffer(bytes);
  }

  void add(const PackedMatrix& slice, std::int64_t first_row) {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const std::int64_t at = first_row / kRowBlock * parts_[i].block_bytes();
      std::memcpy(memory_.data() + places_[i] + at, slice.parts[i].data(), slice.parts[i].size());
    }
  }

  Weight take() {
    std::array<const std::byte*, kWeightParts> data = {};
    for (std::size_t i = 0; i < parts_.size(); ++i) data[i] = memory_.data() + places_[i];
    return {.view = with_parts_at(layout_, data), .storage = std::move(memory_)};
  }

 private:
  WeightLayout layout_;
  PartLayouts parts_;
  std::array<std::size_t, kWeightParts> places_ = {};
  Buffer memory_;
};

/// Parameters of the tensors that will be read: those of a tied head count twice, as work.
std::int64_t work_of(const QuantizePlan& plan, std::span<const Parameter> dense) {
  std::int64_t work = 0;
  for (const LayerPlan* layer : plan.packed()) work += layer->linear.out * layer->linear.in;
  for (const Parameter& parameter : dense) work += parameter.count();
  return work;
}

}  // namespace

TensorWriter::TensorWriter(const Checkpoint& checkpoint, const QuantizePlan& plan, Compute& compute,
                           CheckpointWriter& writer)
    : checkpoint_(checkpoint),
      plan_(plan),
      compute_(compute),
      writer_(writer),
      dense_(dense_parameters(checkpoint.spec(), plan)),
      packed_(tensors_of(writer.tensors().notes(), writer.path().string())),
      n_recorded_(packed_.size()),
      progress_("quantizing", work_of(plan, dense_), "weights") {}

void TensorWriter::record() {
  writer_.tensors().record(note_of(std::span(packed_).subspan(n_recorded_)));
  n_recorded_ = packed_.size();
}

void TensorWriter::record_if_due() {
  if (writer_.tensors().is_record_due()) record();
}

/// Reads rows (of a vector, the one that it is) as float32, rounded to the plan's dtype. out:
/// (rows, cols).
void TensorWriter::read_rounded(const CheckpointTensor& tensor, const Batch& rows,
                                std::span<float> out) const {
  if (tensor.view.shape.size() == 1) {
    read_vector(tensor, out);
  } else {
    read_rows(tensor, rows.first, rows.rows, out.data());
  }
  round_to_dtype(plan_.options.dtype, out);
}

void TensorWriter::done_with(const CheckpointTensor& tensor, const Batch& batch) {
  const auto row_bytes = static_cast<std::int64_t>(tensor.view.row_bytes());
  const std::span<const std::byte> all(tensor.view.data, tensor.view.bytes);
  if (!tensor.rows) {
    checkpoint_.tensors().drop(all.subspan(static_cast<std::size_t>(batch.first * row_bytes),
                                           static_cast<std::size_t>(batch.rows * row_bytes)));
  }
  bytes_in_ += batch.rows * row_bytes;
  progress_.advance(batch.rows * tensor.view.cols());
}

/// What was done before this resumed.
void TensorWriter::skip(const CheckpointTensor& tensor) {
  bytes_in_ += tensor.view.rows() * static_cast<std::int64_t>(tensor.view.row_bytes());
  progress_.advance(tensor.view.elements());
}

bool TensorWriter::is_written(const LayerPlan& layer) const {
  // All its parts are recorded at once.
  const PartLayouts parts = codec_of(layer.layout.format).parts(layer.layout);
  return writer_.tensors().is_complete(layer.module + parts[0].suffix);
}

void TensorWriter::write_packed(const LayerPlan& layer, const RowRounder& rounder) {
  const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
  if (is_written(layer)) return skip(tensor);
  write_packed(layer, rounder, [&](std::int64_t first, std::int64_t count, std::span<float> out) {
    read_rounded(tensor, {first, count}, out);
  });
  record_if_due();
}

void TensorWriter::write_packed(const LayerPlan& layer, const RowRounder& rounder, RowReader read,
                                Weight* packed) {
  const WeightLayout& layout = layer.layout;
  const WeightCodec& codec = codec_of(layout.format);
  const PartLayouts parts = codec.parts(layout);
  const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
  WrittenTensor written{.name = layer.module + ".weight",
                        .shape = {layout.rows, layout.cols},
                        .format = codec.name,
                        .bits = codec.bits,
                        .group_size = layout.group_size,
                        .error = {}};
  std::optional<PackedCopy> copy;
  if (packed != nullptr) copy.emplace(layout);
  const float largest = layer.shares_scale ? largest_magnitude(compute_, layout, read) : 0.0F;
  for (std::int64_t first = 0; first < layout.rows; first += kRowsPerSlice) {
    check_interrupt();
    WeightLayout part = layout;
    part.rows = std::min(kRowsPerSlice, layout.rows - first);
    const PackedMatrix slice = round_matrix(
        compute_, rounder, part,
        [&](std::int64_t row, std::int64_t count, std::span<float> out) {
          read(first + row, count, out);
        },
        largest);
    written.error += slice.error;
    if (!written.error.finite) {
      fail("{}: tensor \"{}\" holds weights that are not finite numbers",
           checkpoint_.path().string(), tensor.name);
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      writer_.tensors().append(layer.module + parts[i].suffix, slice.parts[i]);
    }
    if (copy) copy->add(slice, first);
    done_with(tensor, {first, part.rows});
  }
  if (copy) *packed = copy->take();
  packed_.push_back(std::move(written));
}

Weight TensorWriter::written(const LayerPlan& layer) const {
  PackedMatrix parts{.layout = layer.layout, .parts = {}};
  const PartLayouts layouts = codec_of(layer.layout.format).parts(layer.layout);
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    parts.parts[i] = writer_.tensors().read(layer.module + layouts[i].suffix);
  }
  PackedCopy copy(layer.layout);
  copy.add(parts, 0);
  return copy.take();
}

void TensorWriter::replace_written(std::int64_t number, DecoderBlock& block) const {
  for (const Module& module : checkpoint_.spec().modules()) {
    if (module.layer != number) continue;
    Norm* norm = block.norm(module.role);
    if (norm != nullptr && module.has_weight) {
      replace_written(module.name + ".weight", norm->weight, checkpoint_.spec().norm.weight_offset);
    }
    if (!module.has_bias) continue;
    replace_written(module.name + ".bias",
                    norm != nullptr ? norm->bias : block.linear(module.role)->bias, 0);
  }
}

void TensorWriter::replace_written(const std::string& name, std::vector<float>& values,
                                   float offset) const {
  if (!writer_.tensors().is_complete(name)) return;
  const std::vector<std::byte> stored = writer_.tensors().read(name);
  const TensorView view{.dtype = plan_.options.dtype,
                        .shape = {std::ssize(values)},
                        .data = stored.data(),
                        .bytes = stored.size()};
  read_vector({.name = name, .view = view}, values);
  for (float& value : values) value += offset;
}

void TensorWriter::write_rewritten(const RewrittenParameters& parameters) {
  const DType dtype = plan_.options.dtype;
  for (const auto& [name, values] : parameters) {
    std::vector<std::byte> stored(values.size() *
                                  static_cast<std::size_t>(dtype_layout(dtype).bytes));
    store_as_dtype(dtype, values, stored.data());
    if (!writer_.tensors().is_complete(name)) writer_.tensors().append(name, stored);
  }
}

void TensorWriter::write_dense() {
  for (const Parameter& parameter : dense_) {
    write_dense(parameter);
    record_if_due();
  }
}

void TensorWriter::write_dense(const Parameter& parameter) {
  const CheckpointTensor tensor = checkpoint_.float_tensor(parameter.name, parameter.shape);
  if (writer_.tensors().is_complete(parameter.name)) return skip(tensor);
  const DType dtype = plan_.options.dtype;
  const auto cols = static_cast<std::size_t>(tensor.view.cols());
  const auto make = [&](std::int64_t row, std::span<std::byte> out) {
    std::vector<float> values(cols);
    read_rounded(tensor, {row, 1}, values);
    store_as_dtype(dtype, values, out.data());
  };
  writer_.write(parameter.name, compute_.pool(),
                {.piece_bytes = cols * static_cast<std::size_t>(dtype_layout(dtype).bytes),
                 .make = make,
                 .made = [&](std::int64_t first, std::int64_t count) {
                   done_with(tensor, {first, count});
                 }});
}

}  // namespace nibble
