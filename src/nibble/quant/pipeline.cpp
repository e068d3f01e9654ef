#include "nibble/quant/pipeline.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/output.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/models/companions.h"
#include "nibble/models/token_cost.h"
#include "nibble/quant/model_folder.h"
#include "nibble/quant/per_channel.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

// Rows that are read, rounded and written at a time: enough work for many threads, little memory.
constexpr std::int64_t kBlocksPerBatch = 32;

/// Rounds the first `rows` (up to 16) rows of a block, weights (rows, cols), as the layout has
/// groups or none.
RoundingError round_block(const WeightLayout& layout, std::span<const float> weights,
                          std::int64_t rows, IntegerBlock& out) {
  const int bits = codec_of(layout.format).bits;
  const auto size = static_cast<std::size_t>(layout.cols / out.groups);
  RoundingError error;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t group = 0; group < out.groups; ++group) {
      const auto at =
          static_cast<std::size_t>(row * layout.cols) + static_cast<std::size_t>(group) * size;
      const std::span<const float> from = weights.subspan(at, size);
      const std::span<std::uint8_t> q = std::span(out.q).subspan(at, size);
      const auto place = static_cast<std::size_t>(group * kRowBlock + row);
      if (layout.group_size == 0) {
        out.scales[place] = round_row(from, q, error);
        out.zeros[place] = kMiddleOf8Bits;
        continue;
      }
      const GroupParameters parameters = round_group(from, bits, q, error);
      out.scales[place] = to_float(parameters.scale);
      out.zeros[place] = parameters.zero;
    }
  }
  return error;
}

/// The parts of a layer as they are made: the first, its integers, a batch of blocks at a time, the
/// others as a whole.
class PackedParts {
 public:
  explicit PackedParts(const WeightLayout& layout)
      : layout_(layout), parts_(codec_of(layout.format).parts(layout)), bytes_(parts_.size()) {
    for (std::size_t i = 1; i < parts_.size(); ++i) {
      bytes_[i].resize(static_cast<std::size_t>(block_count(layout) * parts_[i].block_bytes()));
    }
  }

  const PartLayouts& parts() const { return parts_; }
  const std::vector<std::byte>& bytes(std::size_t part) const { return bytes_[part]; }

  void begin_batch(std::int64_t first_block, std::int64_t blocks) {
    first_block_ = first_block;
    bytes_[0].resize(static_cast<std::size_t>(blocks * parts_[0].block_bytes()));
  }
  /// Where block `block` of the matrix, one of the batch, is packed to.
  BlockSpans block(std::int64_t block) {
    BlockSpans spans;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const auto size = static_cast<std::size_t>(parts_[i].block_bytes());
      const auto place = static_cast<std::size_t>(i == 0 ? block - first_block_ : block);
      spans[i] = std::span(bytes_[i]).subspan(place * size, size);
    }
    return spans;
  }

 private:
  WeightLayout layout_;
  PartLayouts parts_;
  std::vector<std::vector<std::byte>> bytes_;
  std::int64_t first_block_ = 0;
};

/// Everything that writing one checkpoint's tensors needs.
class TensorWriter {
 public:
  TensorWriter(const Checkpoint& checkpoint, const QuantizePlan& plan, Compute& compute,
               const std::filesystem::path& path, Progress& progress)
      : checkpoint_(checkpoint),
        plan_(plan),
        compute_(compute),
        progress_(progress),
        writer_(path, declarations(checkpoint.spec(), plan),
                {{"format", "pt"}, {"writer", "nibble"}}) {}

  /// Writes all tensors and counts them in `report`.
  void run(QuantizeReport& report) {
    for (const LayerPlan& layer : plan_.layers) {
      if (layer.packed) report.tensors.push_back(write_packed(layer, report.bytes_in));
    }
    for (const Parameter& tensor : dense_parameters(checkpoint_.spec(), plan_)) {
      write_dense(tensor, report.bytes_in);
    }
    report.bytes_out = static_cast<std::int64_t>(writer_.file_bytes());
  }

  void commit() { writer_.commit(); }

 private:
  struct Batch {
    std::int64_t first;  // row or block of rows
    std::int64_t count;
  };

  /// Reads rows (of a vector, the one that it is) as float32, rounded to the plan's dtype. out:
  /// (rows, cols).
  void read_rounded(const CheckpointTensor& tensor, const Batch& rows, std::span<float> out) const {
    if (tensor.view.shape.size() == 1) {
      read_vector(tensor, out);
    } else {
      read_rows(tensor, rows.first, rows.count, out.data());
    }
    round_to_dtype(plan_.options.dtype, out);
  }

  void done_with(const CheckpointTensor& tensor, const Batch& batch, std::int64_t& bytes_in) {
    const auto row_bytes = static_cast<std::int64_t>(tensor.view.row_bytes());
    const std::span<const std::byte> all(tensor.view.data, tensor.view.bytes);
    checkpoint_.tensors().drop(all.subspan(static_cast<std::size_t>(batch.first * row_bytes),
                                           static_cast<std::size_t>(batch.count * row_bytes)));
    bytes_in += batch.count * row_bytes;
    progress_.advance(batch.count * tensor.view.cols());
  }

  QuantizedTensor write_packed(const LayerPlan& layer, std::int64_t& bytes_in) {
    const WeightLayout& layout = layer.layout;
    const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
    PackedParts packed(layout);
    QuantizedTensor result{.name = layer.linear.name + ".weight",
                           .shape = {layout.rows, layout.cols},
                           .bits = codec_of(layout.format).bits,
                           .group_size = layout.group_size};
    writer_.begin(layer.linear.name + packed.parts()[0].suffix);
    for (std::int64_t block = 0; block < block_count(layout); block += kBlocksPerBatch) {
      const std::int64_t blocks = std::min(kBlocksPerBatch, block_count(layout) - block);
      packed.begin_batch(block, blocks);
      pack_batch(tensor, layout, {block, blocks}, packed, result.error);
      if (!result.error.finite) {
        fail("{}: tensor \"{}\" holds weights that are not finite numbers",
             checkpoint_.path().string(), tensor.name);
      }
      writer_.write(packed.bytes(0));
      const std::int64_t first = block * kRowBlock;
      done_with(tensor, {first, std::min(blocks * kRowBlock, layout.rows - first)}, bytes_in);
    }
    for (std::size_t i = 1; i < packed.parts().size(); ++i) {
      writer_.write_tensor(layer.linear.name + packed.parts()[i].suffix, packed.bytes(i));
    }
    return result;
  }

  /// Rounds and packs some blocks of rows.
  void pack_batch(const CheckpointTensor& tensor, const WeightLayout& layout, const Batch& blocks,
                  PackedParts& packed, RoundingError& total) {
    std::vector<RoundingError> errors(static_cast<std::size_t>(blocks.count));
    compute_.pool().parallel_for(blocks.count, [&](std::int64_t i, int) {
      const std::int64_t block = blocks.first + i;
      const std::int64_t first = block * kRowBlock;
      const Batch rows{first, std::min(kRowBlock, layout.rows - first)};
      std::vector<float> weights(static_cast<std::size_t>(rows.count * layout.cols));
      read_rounded(tensor, rows, weights);
      IntegerBlock integers(layout.cols, group_count(layout));
      errors[static_cast<std::size_t>(i)] = round_block(layout, weights, rows.count, integers);
      codec_of(layout.format).pack(layout, integers, packed.block(block));
    });
    for (const RoundingError& error : errors) total += error;  // in order: the same for any threads
  }

  void write_dense(const Parameter& dense, std::int64_t& bytes_in) {
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
      values.resize(static_cast<std::size_t>(batch.count * cols));
      read_rounded(tensor, batch, values);
      stored.resize(values.size() *
                    static_cast<std::size_t>(dtype_layout(plan_.options.dtype).bytes));
      store_as_dtype(plan_.options.dtype, values, stored.data());
      writer_.write(stored);
      done_with(tensor, batch, bytes_in);
    }
  }

  const Checkpoint& checkpoint_;
  const QuantizePlan& plan_;
  Compute& compute_;
  Progress& progress_;
  SafetensorsWriter writer_;
};

/// Parameters of the tensors that will be read: those of a tied head count twice, as work.
std::int64_t work_of(const ModelSpec& spec, const QuantizePlan& plan) {
  std::int64_t work = 0;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.packed) work += layer.linear.out * layer.linear.in;
  }
  for (const Parameter& tensor : dense_parameters(spec, plan)) {
    work += tensor.count();
  }
  return work;
}

void add_sizes(const ModelSpec& spec, const QuantizePlan& plan, QuantizeReport& report) {
  std::vector<LinearCost> costs;
  for (const LayerPlan& layer : plan.layers) {
    const auto layout = layer.packed ? std::optional(layer.layout) : std::nullopt;
    costs.push_back(linear_cost(layer.linear, layout, plan.options.dtype));
  }
  report.bits_per_weight = token_cost(spec, costs).bits_per_weight();
  report.file_bits_per_parameter =
      8.0 * static_cast<double>(report.bytes_out) / static_cast<double>(parameter_count(spec));
}

}  // namespace

QuantizeReport quantize_model(const Checkpoint& checkpoint, const QuantizePlan& plan,
                              Compute& compute, const std::filesystem::path& out, bool replace) {
  const Stopwatch stopwatch;
  if (checkpoint.is_quantized()) {
    fail("{}: is quantized already; quantize the original instead", checkpoint.path().string());
  }
  OutputFolder folder(out, replace);
  check_not_model(checkpoint.path(), out);
  Progress progress("quantizing", work_of(checkpoint.spec(), plan), "weights");
  QuantizeReport report;
  write_config(checkpoint.config(), plan, "pergrp", folder.temporary());
  write_companions(checkpoint, folder.temporary());
  TensorWriter writer(checkpoint, plan, compute, folder.temporary() / "model.safetensors",
                      progress);
  writer.run(report);
  add_sizes(checkpoint.spec(), plan, report);
  report.seconds = stopwatch.seconds();
  const Stopwatch sync_stopwatch;
  writer.commit();
  folder.commit();
  report.sync_seconds = sync_stopwatch.seconds();
  return report;
}

}  // namespace nibble
