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
#include "nibble/weights/dense.h"

namespace nibble {
namespace {

// Rows that are read, rounded and written at a time: enough work for many threads, little memory.
constexpr std::int64_t kBlocksPerBatch = 32;

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// The parts of one block of 16 rows, packed.
struct PackedBlock {
  std::span<std::uint8_t> codes;  // block_code_bytes()
  std::span<BFloat16> scales;     // (groups, 16)
  std::span<std::uint8_t> zeros;  // block_zero_bytes()
};

/// Rounds and packs the first `rows` (up to 16) rows of a block, weights (rows, cols).
RoundingError pack_block(const PackedGroup& layout, std::span<const float> weights,
                         std::int64_t rows, const PackedBlock& out) {
  std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * layout.cols));
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(layout.groups() * kRowBlock));
  const auto group_size = static_cast<std::size_t>(layout.group_size);
  RoundingError error;
  std::fill(out.scales.begin(), out.scales.end(), BFloat16{0});
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t group = 0; group < layout.groups(); ++group) {
      const auto at = static_cast<std::size_t>(row * layout.cols + group * layout.group_size);
      const GroupParameters parameters = round_group(weights.subspan(at, group_size), layout.bits,
                                                     std::span(q).subspan(at, group_size), error);
      const auto place = static_cast<std::size_t>(group * kRowBlock + row);
      out.scales[place] = parameters.scale;
      zeros[place] = parameters.zero;
    }
  }
  pack_codes(layout, q, out.codes);
  pack_zeros(layout, zeros, out.zeros);
  return error;
}

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
    std::int64_t first;  // row
    std::int64_t rows;
  };

  /// Reads rows (of a vector, the one that it is) as float32, rounded to the plan's dtype. out:
  /// (rows, cols).
  void read_rounded(const CheckpointTensor& tensor, const Batch& rows, std::span<float> out) const {
    if (tensor.view.shape.size() == 1) {
      read_vector(tensor, out);
    } else {
      read_rows(tensor, rows.first, rows.rows, out.data());
    }
    round_to_dtype(plan_.options.dtype, out);
  }

  void done_with(const CheckpointTensor& tensor, const Batch& batch, std::int64_t& bytes_in) {
    const auto row_bytes = static_cast<std::int64_t>(tensor.view.row_bytes());
    const std::span<const std::byte> all(tensor.view.data, tensor.view.bytes);
    if (!tensor.rows) {
      checkpoint_.tensors().drop(all.subspan(static_cast<std::size_t>(batch.first * row_bytes),
                                             static_cast<std::size_t>(batch.rows * row_bytes)));
    }
    bytes_in += batch.rows * row_bytes;
    progress_.advance(batch.rows * tensor.view.cols());
  }

  QuantizedTensor write_packed(const LayerPlan& layer, std::int64_t& bytes_in) {
    const auto& layout = std::get<PackedGroup>(layer.layout);
    const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
    std::vector<BFloat16> scales(static_cast<std::size_t>(layout.scale_bytes() / 2));
    std::vector<std::uint8_t> zeros(static_cast<std::size_t>(layout.zero_bytes()));
    QuantizedTensor result{.name = layer.linear.name + ".weight",
                           .shape = {layout.rows, layout.cols},
                           .bits = layout.bits,
                           .group_size = layout.group_size};
    writer_.begin(layer.linear.name + kCodesSuffix);
    for (std::int64_t block = 0; block < layout.row_blocks(); block += kBlocksPerBatch) {
      const std::int64_t blocks = std::min(kBlocksPerBatch, layout.row_blocks() - block);
      pack_batch(tensor, layout, block, blocks, scales, zeros, result.error);
      if (!result.error.finite) {
        fail("{}: tensor \"{}\" holds weights that are not finite numbers",
             checkpoint_.path().string(), tensor.name);
      }
      const std::int64_t first = block * kRowBlock;
      done_with(tensor, {first, std::min(blocks * kRowBlock, layout.rows - first)}, bytes_in);
    }
    writer_.write_tensor(layer.linear.name + kScalesSuffix, bytes_of(scales));
    writer_.write_tensor(layer.linear.name + kZerosSuffix, bytes_of(zeros));
    return result;
  }

  /// Packs `blocks` blocks of rows from `first_block` on; writes their integers, and puts their
  /// scales and zero points into place.
  void pack_batch(const CheckpointTensor& tensor, const PackedGroup& layout,
                  std::int64_t first_block, std::int64_t blocks, std::vector<BFloat16>& scales,
                  std::vector<std::uint8_t>& zeros, RoundingError& total) {
    const auto code_bytes = static_cast<std::size_t>(layout.block_code_bytes());
    const auto scale_count = static_cast<std::size_t>(layout.block_scale_bytes() / 2);
    const auto zero_bytes = static_cast<std::size_t>(layout.block_zero_bytes());
    codes_.resize(static_cast<std::size_t>(blocks) * code_bytes);
    std::vector<RoundingError> errors(static_cast<std::size_t>(blocks));
    compute_.pool().parallel_for(blocks, [&](std::int64_t i, int) {
      const Batch rows{(first_block + i) * kRowBlock,
                       std::min(kRowBlock, layout.rows - (first_block + i) * kRowBlock)};
      std::vector<float> weights(static_cast<std::size_t>(rows.rows * layout.cols));
      read_rounded(tensor, rows, weights);
      const auto at = static_cast<std::size_t>(i);
      const auto place = static_cast<std::size_t>(first_block + i);
      errors[at] = pack_block(layout, weights, rows.rows,
                              {std::span(codes_).subspan(at * code_bytes, code_bytes),
                               std::span(scales).subspan(place * scale_count, scale_count),
                               std::span(zeros).subspan(place * zero_bytes, zero_bytes)});
    });
    for (const RoundingError& error : errors) total += error;  // in order: the same for any threads
    writer_.write(bytes_of(codes_));
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
      values.resize(static_cast<std::size_t>(batch.rows * cols));
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
  std::vector<std::uint8_t> codes_;
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
