#include "nibble/convert/parameters.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/models/weight_loader.h"
#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"

namespace nibble {
namespace {

using RowVisitor = FunctionRef<void(std::int64_t, const ParameterRow&)>;

// Bytes that are encoded before they are handed on, and rows that a thread takes at a time.
constexpr std::int64_t kBatchBytes = 8 << 20;
constexpr std::int64_t kRowsPerItem = kRowBlock;

/// Rows of a block of 16 of a PackedGroup from `begin` to `end` (of the matrix).
void visit_groups(const WeightView& view, std::int64_t begin, std::int64_t end, RowVisitor visit) {
  const PackedGroup layout = packed_group_of(view);
  const std::int64_t block = begin / kRowBlock;
  const auto groups = static_cast<std::size_t>(layout.groups());
  const auto cols = static_cast<std::size_t>(layout.cols);
  const auto part = [block](const std::uint8_t* data, std::int64_t bytes) {
    return std::span(data + block * bytes, static_cast<std::size_t>(bytes));
  };
  std::vector<std::uint8_t> q(kRowBlock * cols);
  std::vector<std::uint8_t> unit_zeros(groups * kRowBlock);
  unpack_codes(layout, part(static_cast<const std::uint8_t*>(view.data), layout.block_code_bytes()),
               q);
  unpack_zeros(layout, part(view.zeros, layout.block_zero_bytes()), unit_zeros);
  std::vector<float> values(cols);
  std::vector<float> scales(groups);
  std::vector<std::uint8_t> zeros(groups);
  for (std::int64_t row = begin; row < end; ++row) {
    const auto in_block = static_cast<std::size_t>(row % kRowBlock);
    const std::span<const std::uint8_t> codes = std::span(q).subspan(in_block * cols, cols);
    for (std::size_t group = 0; group < groups; ++group) {
      const std::size_t at = group * kRowBlock + in_block;
      scales[group] = to_float(
          view.scales[block * layout.groups() * kRowBlock + static_cast<std::int64_t>(at)]);
      zeros[group] = unit_zeros[at];
      const auto size = static_cast<std::size_t>(layout.group_size);
      for (std::size_t i = group * size; i < (group + 1) * size; ++i) {
        values[i] = static_cast<float>(codes[i] - zeros[group]) * scales[group];
      }
    }
    visit(row, {.values = values,
                .q = codes,
                .scales = scales,
                .zeros = zeros,
                .group_size = layout.group_size});
  }
}

/// The same of an Int8PerChannel.
void visit_int8(const WeightView& view, std::int64_t begin, std::int64_t end, RowVisitor visit) {
  const Int8PerChannel layout = int8_per_channel_of(view);
  const auto cols = static_cast<std::size_t>(layout.cols);
  std::vector<std::int8_t> q(kRowBlock * cols);
  const auto bytes = static_cast<std::size_t>(layout.block_code_bytes());
  unpack_int8(layout,
              {static_cast<const std::uint8_t*>(view.data) +
                   static_cast<std::size_t>(begin / kRowBlock) * bytes,
               bytes},
              q);
  std::vector<float> values(cols);
  for (std::int64_t row = begin; row < end; ++row) {
    const auto codes = std::span(q).subspan(static_cast<std::size_t>(row % kRowBlock) * cols, cols);
    const float scale = view.row_scales[row];
    for (std::size_t i = 0; i < cols; ++i) values[i] = static_cast<float>(codes[i]) * scale;
    visit(row, {.values = values, .q8 = codes, .row_scale = scale});
  }
}

bool is_packed(WeightFormat format) {
  return format == WeightFormat::kW4 || format == WeightFormat::kW3 || format == WeightFormat::kW8;
}

/// Where row `row` goes in a batch that begins at row `first`.
std::int64_t place_of(const RowFormat& format, std::int64_t rows, std::int64_t row) {
  if (format.interleaved_heads == 0) return row;
  const std::int64_t head_rows = rows / format.interleaved_heads;
  const std::int64_t half = head_rows / 2;
  const std::int64_t in_head = row % head_rows;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

}  // namespace

std::optional<PackedLayout> packed_layout(const Checkpoint& checkpoint, const LinearSpec& linear) {
  const auto packed = checkpoint.packed_weight(linear);
  return packed ? std::optional(packed->layout) : std::nullopt;
}

std::vector<Parameter> list_parameters(const Checkpoint& checkpoint) {
  const ModelSpec& spec = checkpoint.spec();
  std::vector<Parameter> parameters;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    parameters.push_back({name, std::move(shape), std::nullopt});
  };
  for (ParameterSpec& table : spec.embeddings()) add(table.name, std::move(table.shape));
  for (ParameterSpec& norm : spec.norm_parameters()) add(norm.name, std::move(norm.shape));
  for (const LinearSpec& linear : spec.linears()) {
    const bool packed = packed_layout(checkpoint, linear).has_value();
    const bool is_tied_head = spec.tied_head && linear.name == spec.head.name;
    if (packed || !is_tied_head) {
      add(linear.name + ".weight", {linear.out, linear.in});
      if (packed) parameters.back().packed = linear;
    }
    if (linear.bias) add(linear.name + ".bias", {linear.out});
  }
  return parameters;
}

bool has_own_packed_head(const Checkpoint& checkpoint) {
  const ModelSpec& spec = checkpoint.spec();
  return spec.tied_head && packed_layout(checkpoint, spec.head).has_value();
}

void EncodingCost::operator+=(const EncodingCost& other) {
  squared_error += other.squared_error;
  squared_weight += other.squared_weight;
  finite = finite && other.finite;
}

double EncodingCost::relative() const {
  return squared_weight > 0 ? std::sqrt(squared_error / squared_weight) : 0;
}

ParameterReader::ParameterReader(const Checkpoint& checkpoint, Compute& compute,
                                 const Parameter& parameter)
    : checkpoint_(checkpoint), compute_(compute), parameter_(parameter) {
  if (parameter.packed) {
    packed_ = WeightLoader(checkpoint, compute, DType::kF32).linear(*parameter.packed);
  } else {
    dense_ = checkpoint.float_tensor(parameter.name, parameter.shape);
  }
}

std::int64_t ParameterReader::rows() const {
  return TensorView{.shape = parameter_.shape}.rows();
}

void ParameterReader::visit_dense(std::int64_t first, std::int64_t count, RowVisitor visit) const {
  const auto width = static_cast<std::size_t>(cols());
  std::vector<float> values(static_cast<std::size_t>(count) * width);
  if (parameter_.is_matrix()) {
    read_rows(*dense_, first, count, values.data());
  } else {
    read_vector(*dense_, values);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    visit(first + i,
          {.values = std::span(values).subspan(static_cast<std::size_t>(i) * width, width)});
  }
}

void ParameterReader::visit(std::int64_t first, std::int64_t count, RowVisitor visit) const {
  if (!packed_) return visit_dense(first, count, visit);
  const WeightView& view = packed_->weight.view;
  if (!is_packed(view.format)) {
    std::vector<float> values(static_cast<std::size_t>(cols()));
    for (std::int64_t row = first; row < first + count; ++row) {
      weight_row(view, row, values);
      visit(row, {.values = values});
    }
    return;
  }
  for (std::int64_t row = first; row < first + count;) {
    const std::int64_t end = std::min(first + count, (row / kRowBlock + 1) * kRowBlock);
    view.format == WeightFormat::kW8 ? visit_int8(view, row, end, visit)
                                     : visit_groups(view, row, end, visit);
    row = end;
  }
}

/// Gives back the memory of rows that were read in place.
void ParameterReader::drop(std::int64_t first, std::int64_t count) const {
  if (!dense_) return;
  const std::size_t row_bytes = dense_->view.row_bytes();
  const std::span<const std::byte> all(dense_->view.data, dense_->view.bytes);
  checkpoint_.tensors().drop(all.subspan(static_cast<std::size_t>(first) * row_bytes,
                                         static_cast<std::size_t>(count) * row_bytes));
}

void ParameterReader::drop_packed() const {
  if (!packed_ || !is_packed(packed_->weight.view.format)) return;
  const WeightView& view = packed_->weight.view;
  const std::int64_t bytes = view.format == WeightFormat::kW8
                                 ? int8_per_channel_of(view).code_bytes()
                                 : packed_group_of(view).code_bytes();
  checkpoint_.tensors().drop(
      {static_cast<const std::byte*>(view.data), static_cast<std::size_t>(bytes)});
}

EncodingCost ParameterReader::stream(const RowFormat& format, Progress& progress,
                                     FunctionRef<void(std::span<const std::byte>)> sink) const {
  // A batch is whole blocks of 16 rows, or whole heads whose rows change places.
  const std::int64_t unit =
      format.interleaved_heads > 0 ? rows() / format.interleaved_heads : kRowBlock;
  const std::int64_t batch =
      std::max<std::int64_t>(1, kBatchBytes / (format.row_bytes * unit)) * unit;
  EncodingCost total;
  std::vector<std::byte> bytes;
  for (std::int64_t first = 0; first < rows(); first += batch) {
    check_interrupt();
    const std::int64_t count = std::min(batch, rows() - first);
    const std::int64_t items = (count + kRowsPerItem - 1) / kRowsPerItem;
    bytes.resize(static_cast<std::size_t>(count * format.row_bytes));
    std::vector<EncodingCost> costs(static_cast<std::size_t>(items));
    compute_.pool().parallel_for(items, [&](std::int64_t item, int) {
      const std::int64_t begin = first + item * kRowsPerItem;
      const std::int64_t end = std::min(first + count, begin + kRowsPerItem);
      visit(begin, end - begin, [&](std::int64_t row, const ParameterRow& values) {
        std::byte* out = bytes.data() + (place_of(format, rows(), row) - first) * format.row_bytes;
        costs[static_cast<std::size_t>(item)] += format.encode(values, out);
      });
    });
    for (const EncodingCost& cost : costs) total += cost;  // in order: the same for any threads
    if (!total.finite) {
      fail(
          "{}: tensor \"{}\" holds values that are not finite, or too large for the format asked "
          "for",
          checkpoint_.path().string(), parameter_.name);
    }
    sink(bytes);
    drop(first, count);
    progress.advance(std::ssize(bytes));
  }
  drop_packed();
  return total;
}

}  // namespace nibble
