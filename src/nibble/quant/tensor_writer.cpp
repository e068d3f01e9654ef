#include "nibble/quant/tensor_writer.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/models/weight_loader.h"
#include "nibble/quant/model_folder.h"
#include "nibble/weights/packed_layout.h"

namespace nibble {
namespace {

// Rows that are read, rounded and written at a time: enough work for many threads, little memory.
constexpr std::int64_t kRowsPerSlice = 1536;
static_assert(kRowsPerSlice % kRowsAtATime == 0);

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// A packed matrix in memory of its own, filled slice by slice.
class PackedCopy {
 public:
  explicit PackedCopy(const PackedGroup& layout)
      : layout_(layout),
        scales_at_(aligned(layout.code_bytes())),
        zeros_at_(scales_at_ + aligned(layout.scale_bytes())),
        memory_(static_cast<std::size_t>(zeros_at_ + aligned(layout.zero_bytes()))) {}

  void add(const PackedMatrix& slice, std::int64_t first_row) {
    const std::int64_t block = first_row / kRowBlock;
    copy(slice.codes, block * layout_.block_code_bytes());
    copy(slice.scales, scales_at_ + block * layout_.block_scale_bytes());
    copy(slice.zeros, zeros_at_ + block * layout_.block_zero_bytes());
  }

  Weight take() {
    Weight weight{.view = {.format = packed_format(layout_),
                           .rows = layout_.rows,
                           .cols = layout_.cols,
                           .data = memory_.data(),
                           .group_size = layout_.group_size}};
    weight.view.scales = reinterpret_cast<const BFloat16*>(memory_.data() + scales_at_);
    weight.view.zeros = reinterpret_cast<const std::uint8_t*>(memory_.data() + zeros_at_);
    weight.storage = std::move(memory_);
    return weight;
  }

 private:
  static std::int64_t aligned(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }
  template <typename T>
  void copy(const std::vector<T>& part, std::int64_t at) {
    std::memcpy(memory_.data() + at, part.data(), part.size() * sizeof(T));
  }

  PackedGroup layout_;
  std::int64_t scales_at_;
  std::int64_t zeros_at_;
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
  checkpoint_.tensors().drop(all.subspan(static_cast<std::size_t>(batch.first * row_bytes),
                                         static_cast<std::size_t>(batch.rows * row_bytes)));
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
  const auto& layout = std::get<PackedGroup>(layer.layout);
  const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
  QuantizedTensor result{.name = layer.linear.name + ".weight",
                         .shape = {layout.rows, layout.cols},
                         .bits = layout.bits,
                         .group_size = layout.group_size};
  std::optional<PackedCopy> copy;
  if (packed != nullptr) copy.emplace(layout);
  std::vector<BFloat16> scales;
  std::vector<std::uint8_t> zeros;
  writer_.begin(layer.linear.name + kCodesSuffix);
  for (std::int64_t first = 0; first < layout.rows; first += kRowsPerSlice) {
    PackedGroup part = layout;
    part.rows = std::min(kRowsPerSlice, layout.rows - first);
    const PackedMatrix slice = round_matrix(
        compute_, rounder, part, [&](std::int64_t row, std::int64_t count, std::span<float> out) {
          read(first + row, count, out);
        });
    result.error += slice.error;
    if (!result.error.finite) {
      fail("{}: tensor \"{}\" holds weights that are not finite numbers",
           checkpoint_.path().string(), tensor.name);
    }
    writer_.write(bytes_of(slice.codes));
    scales.insert(scales.end(), slice.scales.begin(), slice.scales.end());
    zeros.insert(zeros.end(), slice.zeros.begin(), slice.zeros.end());
    if (copy) copy->add(slice, first);
    done_with(tensor, {first, part.rows});
  }
  writer_.write_tensor(layer.linear.name + kScalesSuffix, bytes_of(scales));
  writer_.write_tensor(layer.linear.name + kZerosSuffix, bytes_of(zeros));
  if (copy) *packed = copy->take();
  return result;
}

void TensorWriter::write_dense(const RewrittenParameters& rewritten) {
  for (const ParameterSpec& dense : dense_tensors(checkpoint_.spec(), plan_)) {
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

void TensorWriter::write_dense_tensor(const ParameterSpec& dense) {
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
