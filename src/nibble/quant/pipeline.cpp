#include "nibble/quant/pipeline.h"

#include <algorithm>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/models/token_cost.h"
#include "nibble/models/tokenizer_files.h"
#include "nibble/quant/packed_contents.h"
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

struct Batch {
  std::int64_t first;  // row
  std::int64_t rows;
};

/// Makes all tensors of one checkpoint and counts them in a report.
class Quantizer {
 public:
  Quantizer(const Checkpoint& checkpoint, const QuantizePlan& plan, Compute& compute,
            CheckpointWriter& writer, QuantizeReport& report)
      : checkpoint_(checkpoint),
        plan_(plan),
        compute_(compute),
        writer_(writer),
        report_(report),
        dense_(dense_parameters(checkpoint.spec(), plan)),
        progress_("quantizing", work(), "weights") {}

  void run() {
    report_.tensors = tensors_of(writer_.tensors().notes(), writer_.path().string());
    n_recorded_ = report_.tensors.size();
    for (const LayerPlan& layer : plan_.layers) {
      if (layer.packed) write_packed(layer);
    }
    for (const Parameter& parameter : dense_) write_dense(parameter);
    report_.bytes_out = static_cast<std::int64_t>(writer_.tensors().file_bytes());
  }

 private:
  /// Parameters of the tensors that will be read: those of a tied head count twice, as work.
  std::int64_t work() const {
    std::int64_t sum = 0;
    for (const LayerPlan& layer : plan_.layers) {
      if (layer.packed) sum += layer.linear.out * layer.linear.in;
    }
    for (const Parameter& parameter : dense_) sum += parameter.count();
    return sum;
  }

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

  void done_with(const CheckpointTensor& tensor, const Batch& batch) {
    const auto row_bytes = static_cast<std::int64_t>(tensor.view.row_bytes());
    const std::span<const std::byte> all(tensor.view.data, tensor.view.bytes);
    if (!tensor.rows) {
      checkpoint_.tensors().drop(all.subspan(static_cast<std::size_t>(batch.first * row_bytes),
                                             static_cast<std::size_t>(batch.rows * row_bytes)));
    }
    report_.bytes_in += batch.rows * row_bytes;
    progress_.advance(batch.rows * tensor.view.cols());
  }

  /// What was done before this resumed.
  void skip(const CheckpointTensor& tensor) {
    report_.bytes_in += tensor.view.rows() * static_cast<std::int64_t>(tensor.view.row_bytes());
    progress_.advance(tensor.view.elements());
  }

  void record_if_due() {
    if (!writer_.tensors().is_record_due()) return;
    writer_.tensors().record(note_of(std::span(report_.tensors).subspan(n_recorded_)));
    n_recorded_ = report_.tensors.size();
  }

  void write_packed(const LayerPlan& layer) {
    const WeightCodec& codec = codec_of(layer.layout.format);
    const CheckpointTensor tensor = checkpoint_.dense_weight(layer.linear);
    // All its parts are recorded at once.
    const PartLayouts parts = codec.parts(layer.layout);
    if (writer_.tensors().is_complete(layer.linear.name + parts[0].suffix)) return skip(tensor);
    WrittenTensor written{.name = layer.linear.name + ".weight",
                          .shape = {layer.linear.out, layer.linear.in},
                          .format = codec.name,
                          .bits = codec.bits,
                          .group_size = layer.layout.group_size,
                          .error = {}};
    constexpr std::int64_t kRows = kBlocksPerBatch * kRowBlock;
    for (std::int64_t first = 0; first < layer.linear.out; first += kRows) {
      const Batch batch{first, std::min(kRows, layer.linear.out - first)};
      pack_batch(layer, tensor, batch, written.error);
      if (!written.error.finite) {
        fail("{}: tensor \"{}\" holds weights that are not finite numbers",
             checkpoint_.path().string(), tensor.name);
      }
      done_with(tensor, batch);
    }
    report_.tensors.push_back(std::move(written));
    record_if_due();
  }

  /// Rounds and packs whole blocks of rows and writes their share of each part.
  void pack_batch(const LayerPlan& layer, const CheckpointTensor& tensor, const Batch& batch,
                  RoundingError& total) {
    check_interrupt();
    const WeightLayout& layout = layer.layout;
    const WeightCodec& codec = codec_of(layout.format);
    const PartLayouts parts = codec.parts(layout);
    const std::int64_t blocks = (batch.rows + kRowBlock - 1) / kRowBlock;
    std::vector<std::vector<std::byte>> packed(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      packed[i].resize(static_cast<std::size_t>(blocks * parts[i].block_bytes()));
    }
    std::vector<RoundingError> errors(static_cast<std::size_t>(blocks));
    compute_.pool().parallel_for(blocks, [&](std::int64_t block, int) {
      const std::int64_t first = batch.first + block * kRowBlock;
      const Batch rows{first, std::min(kRowBlock, layout.rows - first)};
      std::vector<float> weights(static_cast<std::size_t>(rows.rows * layout.cols));
      read_rounded(tensor, rows, weights);
      IntegerBlock integers(layout.cols, group_count(layout));
      errors[static_cast<std::size_t>(block)] = round_block(layout, weights, rows.rows, integers);
      BlockSpans spans;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto bytes = static_cast<std::size_t>(parts[i].block_bytes());
        spans[i] = std::span(packed[i]).subspan(static_cast<std::size_t>(block) * bytes, bytes);
      }
      codec.pack(layout, integers, spans);
    });
    for (std::size_t i = 0; i < parts.size(); ++i) {
      writer_.tensors().append(layer.linear.name + parts[i].suffix, packed[i]);
    }
    for (const RoundingError& error : errors) total += error;  // in order: the same for any threads
  }

  void write_dense(const Parameter& parameter) {
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
    record_if_due();
  }

  const Checkpoint& checkpoint_;
  const QuantizePlan& plan_;
  Compute& compute_;
  CheckpointWriter& writer_;
  QuantizeReport& report_;
  std::vector<Parameter> dense_;
  std::size_t n_recorded_ = 0;  // of the report's tensors
  Progress progress_;
};

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
                              Compute& compute, CheckpointDestination to) {
  const Stopwatch stopwatch;
  if (checkpoint.is_quantized()) {
    fail("{}: is quantized already; quantize the original instead", checkpoint.path().string());
  }
  to.sources = checkpoint.source_paths();
  to.resumption.identity = "pergrp";
  CheckpointWriter writer(to,
                          packed_contents(checkpoint.config(), checkpoint.spec(), plan, "pergrp"));
  write_tokenizer_files(checkpoint, writer.folder());
  QuantizeReport report;
  Quantizer(checkpoint, plan, compute, writer, report).run();
  add_sizes(checkpoint.spec(), plan, report);
  report.seconds = stopwatch.seconds();
  const Stopwatch sync_stopwatch;
  writer.commit();
  report.sync_seconds = sync_stopwatch.seconds();
  return report;
}

}  // namespace nibble
