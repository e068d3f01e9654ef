#include "nibble/quant/tensor_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/quant/model_folder.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

// Rows that are read, rounded and written at a time: enough work for many threads, little memory.
constexpr std::int64_t kRowsPerSlice = 1536;
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

}  // namespace

TensorWriter::TensorWriter(const Checkpoint& checkpoint, const QuantizePlan& plan, Compute& compute,
                           const std::filesystem::path& path, Progress& progress)
    : checkpoint_(checkpoint),
      plan_(plan),
      compute_(compute),
      progress_(progress),
      writer_(path, declarations(checkpoint.spec(), plan), kCheckpointMetadata) {}

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

QuantizedTensor TensorWriter::write_packed(const LayerPlan& layer, const RowRounder& rounder) {
  const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
  return write_packed(layer, rounder,
                      [&](std::int64_t first, std::int64_t count, std::span<float> out) {
                        read_rounded(tensor, {first, count}, out);
                      });
}

QuantizedTensor TensorWriter::write_packed(const LayerPlan& layer, const RowRounder& rounder,
                                           RowReader read, Weight* packed) {
  const WeightLayout& layout = layer.layout;
  const PartLayouts parts = codec_of(layout.format).parts(layout);
  const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
  QuantizedTensor result{.name = layer.linear.name + ".weight",
                         .shape = {layout.rows, layout.cols},
                         .bits = codec_of(layout.format).bits,
                         .group_size = layout.group_size};
  std::optional<PackedCopy> copy;
  if (packed != nullptr) copy.emplace(layout);
  std::array<std::vector<std::byte>, kWeightParts> kept;  // parts behind the first
  const float largest =
      plan_.options.shares_scale ? largest_magnitude(compute_, layout, read) : 0.0F;
  writer_.begin(layer.linear.name + parts[0].suffix);
  for (std::int64_t first = 0; first < layout.rows; first += kRowsPerSlice) {
    WeightLayout part = layout;
    part.rows = std::min(kRowsPerSlice, layout.rows - first);
    const PackedMatrix slice = round_matrix(
        compute_, rounder, part,
        [&](std::int64_t row, std::int64_t count, std::span<float> out) {
          read(first + row, count, out);
        },
        largest);
    result.error += slice.error;
    if (!result.error.finite) {
      fail("{}: tensor \"{}\" holds weights that are not finite numbers",
           checkpoint_.path().string(), tensor.name);
    }
    writer_.write(slice.parts[0]);
    for (std::size_t i = 1; i < parts.size(); ++i) {
      kept[i].insert(kept[i].end(), slice.parts[i].begin(), slice.parts[i].end());
    }
    if (copy) copy->add(slice, first);
    done_with(tensor, {first, part.rows});
  }
  for (std::size_t i = 1; i < parts.size(); ++i) {
    writer_.write_tensor(layer.linear.name + parts[i].suffix, kept[i]);
  }
  if (copy) *packed = copy->take();
  return result;
}

void TensorWriter::write_dense(const RewrittenParameters& rewritten) {
  for (const Parameter& dense : dense_parameters(checkpoint_.spec(), plan_)) {
    const auto found = rewritten.find(dense.name);
    if (found == rewritten.end()) {
      write_dense_tensor(dense);
      continue;
    }
    std::vector<std::byte> stored(
        found->second.size() * static_cast<std::size_t>(dtype_layout(plan_.options.dtype).bytes));
    store_as_dtype(plan_.options.dtype, found->second, stored.data());
    writer_.write_tensor(dense.name, stored);
  }
}

void TensorWriter::write_dense_tensor(const Parameter& dense) {
  const CheckpointTensor tensor = checkpoint_.float_tensor(dense.name, dense.shape);
  const std::int64_t rows = tensor.view.rows();
  const std::int64_t cols = tensor.view.cols();
  const std::int64_t rows_per_batch = std::max<std::int64_t>(1, (4 << 20) / cols);
  writer_.begin(dense.name);
  std::vector<float> values;
  std::vector<std::byte> stored;
  for (std::int64_t first = 0; first < rows; first += rows_per_batch) {
    check_interrupt();
    const Batch batch{first, std::min(rows_per_batch, rows - first)};
    values.resize(static_cast<std::size_t>(batch.rows * cols));
    read_rounded(tensor, batch, values);
    stored.resize(values.size() *
                  static_cast<std::size_t>(dtype_layout(plan_.options.dtype).bytes));
    store_as_dtype(plan_.options.dtype, values, stored.data());
    writer_.write(stored);
    done_with(tensor, batch);
  }
}

}  // namespace nibble
