#include "nibble/convert/parameter_reader.h"

#include <algorithm>
#include <numeric>

#include "nibble/core/error.h"
#include "nibble/models/weight_loader.h"  // packed_view
#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"
#include "nibble/weights/repack.h"

namespace nibble {
namespace {

using RowVisitor = FunctionRef<void(std::int64_t, const ParameterRow&)>;

/// Sixteen rows of integers in groups, however they are stored.
struct IntegerBlock {
  std::size_t cols;
  std::size_t groups;
  std::vector<std::uint8_t> q;      // (16, cols)
  std::vector<std::uint8_t> zeros;  // (groups, 16)
  std::vector<float> scales;        // (groups, 16)

  IntegerBlock(std::int64_t n_cols, std::int64_t n_groups)
      : cols(static_cast<std::size_t>(n_cols)),
        groups(static_cast<std::size_t>(n_groups)),
        q(kRowBlock * cols),
        zeros(kRowBlock * groups),
        scales(kRowBlock * groups) {}
};

IntegerBlock unpack_block(const WeightView& view, std::int64_t block) {
  const PackedGroup layout = packed_group_of(view);
  IntegerBlock out(layout.cols, layout.groups());
  const auto part = [block](const std::uint8_t* data, std::int64_t bytes) {
    return std::span(data + block * bytes, static_cast<std::size_t>(bytes));
  };
  unpack_codes(layout, part(static_cast<const std::uint8_t*>(view.data), layout.block_code_bytes()),
               out.q);
  unpack_zeros(layout, part(view.zeros, layout.block_zero_bytes()), out.zeros);
  const BFloat16* scales = view.scales + block * layout.groups() * kRowBlock;
  for (std::size_t i = 0; i < out.scales.size(); ++i) out.scales[i] = to_float(scales[i]);
  return out;
}

/// Another tool's matrix, whose groups are consecutive.
IntegerBlock read_block(const IntegerMatrix& matrix, std::int64_t block) {
  IntegerBlock out(matrix.cols, matrix.groups);
  read_codes(matrix, block * kRowBlock, out.q);
  read_zeros(matrix, block * kRowBlock, out.zeros);
  read_scales(matrix, block * kRowBlock, out.scales);
  return out;
}

/// Rows `begin` to `end` (of the matrix) out of their block of 16.
void visit_groups(const IntegerBlock& block, std::int64_t begin, std::int64_t end,
                  RowVisitor visit) {
  const std::size_t size = block.cols / block.groups;
  std::vector<float> values(block.cols);
  std::vector<float> scales(block.groups);
  std::vector<std::uint8_t> zeros(block.groups);
  for (std::int64_t row = begin; row < end; ++row) {
    const auto in_block = static_cast<std::size_t>(row % kRowBlock);
    const auto codes = std::span(block.q).subspan(in_block * block.cols, block.cols);
    for (std::size_t group = 0; group < block.groups; ++group) {
      scales[group] = block.scales[group * kRowBlock + in_block];
      zeros[group] = block.zeros[group * kRowBlock + in_block];
      for (std::size_t i = group * size; i < (group + 1) * size; ++i) {
        values[i] = static_cast<float>(codes[i] - zeros[group]) * scales[group];
      }
    }
    visit(row, {.values = values,
                .q = codes,
                .scales = scales,
                .zeros = zeros,
                .group_size = static_cast<int>(size)});
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

/// Columns of each group, if groups are consecutive columns and all alike; else 0.
int regular_group_size(const IntegerMatrix& matrix) {
  if (matrix.groups <= 1 || matrix.cols % matrix.groups != 0) return 0;
  const std::int64_t size = matrix.cols / matrix.groups;
  for (std::int64_t col = 0; col < matrix.cols; ++col) {
    if (matrix.group_of[static_cast<std::size_t>(col)] != col / size) return 0;
  }
  return static_cast<int>(size);
}

/// Whether blocks of ggml can take the matrix's integers as they are.
bool has_small_groups(const IntegerMatrix& matrix) {
  return matrix.bits <= 4 && regular_group_size(matrix) % 32 == 0 && regular_group_size(matrix) > 0;
}

/// Where row `row` goes.
std::int64_t row_in_output(const RowFormat& format, std::int64_t rows, std::int64_t row) {
  return format.interleaved_heads == 0 ? row
                                       : interleaved_row(row, rows / format.interleaved_heads);
}

}  // namespace

std::optional<IntegerFormat> integer_format(const Checkpoint& checkpoint,
                                            const LinearSpec& linear) {
  if (const auto packed = checkpoint.packed_weight(linear)) {
    const int bits = packed_bits(packed->layout);
    return IntegerFormat{bits, packed_group_size(packed->layout),
                         bits == 8 ? DType::kQ8_0 : DType::kQ4_1};
  }
  if (const auto foreign = checkpoint.foreign_weight(linear)) {
    const IntegerMatrix& matrix = foreign->matrix;
    const bool is_q8_0 = matrix.code_tensor.dtype == DType::kQ8_0;
    return IntegerFormat{matrix.bits, regular_group_size(matrix),
                         has_small_groups(matrix) ? DType::kQ4_1
                         : is_q8_0                ? DType::kQ8_0
                                                  : DType::kBF16};
  }
  return std::nullopt;
}

std::vector<StoredParameter> parameters_to_export(const Checkpoint& checkpoint) {
  std::vector<StoredParameter> parameters = stored_parameters(checkpoint);
  const auto is_linear = [](const StoredParameter& parameter) {
    return parameter.module.kind == ModuleKind::kLinear;
  };
  std::stable_sort(parameters.begin(), parameters.end(),
                   [&](const StoredParameter& a, const StoredParameter& b) {
                     return is_linear(a) < is_linear(b);
                   });
  return parameters;
}

bool has_own_packed_head(const Checkpoint& checkpoint) {
  const LinearSpec& head = checkpoint.spec().head;
  return checkpoint.spec().is_tied(head) && integer_format(checkpoint, head);
}

ParameterReader::ParameterReader(const Checkpoint& checkpoint, Compute& compute,
                                 const StoredParameter& parameter)
    : checkpoint_(checkpoint), compute_(compute), parameter_(parameter) {
  if (!parameter.is_quantized) {
    dense_ = checkpoint.float_tensor(parameter.name, parameter.shape);
  } else if (const auto packed = checkpoint.packed_weight(parameter.module.linear())) {
    packed_ = packed_view(*packed);
  } else {
    foreign_ = checkpoint.foreign_weight(parameter.module.linear());
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

/// Rows of one block of 16.
void ParameterReader::visit_block(std::int64_t begin, std::int64_t end, RowVisitor visit) const {
  const std::int64_t block = begin / kRowBlock;
  if (packed_ && packed_->format == WeightFormat::kW8) {
    visit_int8((*packed_), begin, end, visit);
  } else if (packed_) {
    visit_groups(unpack_block((*packed_), block), begin, end, visit);
  } else if (has_small_groups(foreign_->matrix)) {
    visit_groups(read_block(foreign_->matrix, block), begin, end, visit);
  } else {
    const auto width = static_cast<std::size_t>(cols());
    const std::int64_t first = block * kRowBlock;
    std::vector<float> values(kRowBlock * width);
    dequantize_integers(foreign_->matrix, first, std::min(kRowBlock, rows() - first),
                        values.data());
    for (std::int64_t row = begin; row < end; ++row) {
      visit(row, {.values = std::span(values).subspan(static_cast<std::size_t>(row - first) * width,
                                                      width)});
    }
  }
}

void ParameterReader::visit(std::int64_t first, std::int64_t count, RowVisitor visit) const {
  if (dense_) return visit_dense(first, count, visit);
  for (std::int64_t row = first; row < first + count;) {
    const std::int64_t end = std::min(first + count, (row / kRowBlock + 1) * kRowBlock);
    visit_block(row, end, visit);
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

void ParameterReader::drop_integers() const {
  if (dense_) return;
  if (foreign_) {
    const TensorView& codes = foreign_->matrix.code_tensor;
    return checkpoint_.tensors().drop({codes.data, codes.bytes});
  }
  const WeightView& view = (*packed_);
  const std::int64_t bytes = view.format == WeightFormat::kW8
                                 ? int8_per_channel_of(view).code_bytes()
                                 : packed_group_of(view).code_bytes();
  checkpoint_.tensors().drop(
      {static_cast<const std::byte*>(view.data), static_cast<std::size_t>(bytes)});
}

void ParameterReader::check_finite(const RoundingError& error) const {
  if (error.finite) return;
  fail("{}: tensor \"{}\" holds values that are not finite, or too large for the format asked for",
       checkpoint_.path().string(), parameter_.name);
}

RoundingError ParameterReader::write(const RowFormat& format, CheckpointWriter& writer,
                                     const std::string& name, Progress& progress) const {
  // A piece is whole blocks of 16 rows, and whole heads where their rows change places.
  const std::int64_t heads = format.interleaved_heads;
  const std::int64_t piece_rows = heads > 0 ? std::lcm(rows() / heads, kRowBlock) : kRowBlock;
  std::vector<RoundingError> errors(static_cast<std::size_t>(rows() / kRowBlock + 1));
  RoundingError total;
  const auto make = [&](std::int64_t piece, std::span<std::byte> out) {
    const std::int64_t first = piece * piece_rows;
    visit(first, std::ssize(out) / format.row_bytes,
          [&](std::int64_t row, const ParameterRow& values) {
            std::byte* to =
                out.data() + (row_in_output(format, rows(), row) - first) * format.row_bytes;
            errors[static_cast<std::size_t>(row / kRowBlock)] += format.encode(values, to);
          });
  };
  const auto made = [&](std::int64_t piece, std::int64_t pieces) {
    const std::int64_t first = piece * piece_rows;
    const std::int64_t end = std::min(rows(), first + pieces * piece_rows);
    for (std::int64_t row = first; row < end;
         row += kRowBlock) {  // in order: the same for any threads
      total += errors[static_cast<std::size_t>(row / kRowBlock)];
    }
    check_finite(total);
    drop(first, end - first);
    progress.advance((end - first) * format.row_bytes);
  };
  writer.write(name, compute_.pool(),
               {.piece_bytes = static_cast<std::size_t>(piece_rows * format.row_bytes),
                .make = make,
                .made = made});
  drop_integers();
  return total;
}

}  // namespace nibble
