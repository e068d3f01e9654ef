#include "nibble/convert/parameter_reader.h"

#include <algorithm>
#include <numeric>

#include "nibble/core/error.h"
#include "nibble/weights/repack.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

using RowVisitor = FunctionRef<void(std::int64_t, const ParameterRow&)>;

/// Rows `begin` to `end` (of the matrix) out of their block of 16.
void visit_groups(const IntegerBlock& block, int bits, std::int64_t begin, std::int64_t end,
                  RowVisitor visit) {
  const auto cols = static_cast<std::size_t>(block.cols);
  const auto groups = static_cast<std::size_t>(block.groups);
  const std::size_t size = cols / groups;
  std::vector<float> values(cols);
  std::vector<float> scales(groups);
  std::vector<std::uint8_t> zeros(groups);
  for (std::int64_t row = begin; row < end; ++row) {
    const auto in_block = static_cast<std::size_t>(row % kRowBlock);
    const auto codes = std::span(block.q).subspan(in_block * cols, cols);
    for (std::size_t group = 0; group < groups; ++group) {
      scales[group] = block.scales[group * kRowBlock + in_block];
      zeros[group] = block.zeros[group * kRowBlock + in_block];
      for (std::size_t i = group * size; i < (group + 1) * size; ++i) {
        values[i] = static_cast<float>(codes[i] - zeros[group]) * scales[group];
      }
    }
    visit(row, {.values = values,
                .bits = bits,
                .q = codes,
                .scales = scales,
                .zeros = zeros,
                .group_size = static_cast<int>(size)});
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
    const WeightCodec& codec = codec_of(packed->layout.format);
    return IntegerFormat{codec.bits, packed->layout.group_size, codec.ggml_type};
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
  return checkpoint.spec().tied_head && checkpoint.has_own_head();
}

ParameterReader::ParameterReader(const Checkpoint& checkpoint, Compute& compute,
                                 const StoredParameter& parameter)
    : checkpoint_(checkpoint), compute_(compute), parameter_(parameter) {
  if (!parameter.is_quantized) {
    dense_ = checkpoint.float_tensor(parameter.name, parameter.shape);
    return;
  }
  packed_ = checkpoint.packed_weight(parameter.module.linear());
  if (!packed_) foreign_ = checkpoint.foreign_weight(parameter.module.linear());
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
  if (packed_) {
    const WeightView view = packed_->view();
    const WeightCodec& codec = codec_of(view.format);
    IntegerBlock integers(view.cols, group_count(view));
    codec.unpack(view, block, integers);
    visit_groups(integers, codec.bits, begin, end, visit);
  } else if (has_small_groups(foreign_->matrix)) {
    const IntegerMatrix& matrix = foreign_->matrix;
    visit_groups(read_block(matrix, block * kRowBlock), matrix.bits, begin, end, visit);
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
  if (!dense_ || dense_->rows) return;
  const std::size_t row_bytes = dense_->view.row_bytes();
  const std::span<const std::byte> all(dense_->view.data, dense_->view.bytes);
  checkpoint_.tensors().drop(all.subspan(static_cast<std::size_t>(first) * row_bytes,
                                         static_cast<std::size_t>(count) * row_bytes));
}

void ParameterReader::drop_integers() const {
  if (dense_) return;
  const TensorView& codes = foreign_ ? foreign_->matrix.code_tensor : packed_->parts[0].view;
  checkpoint_.tensors().drop({codes.data, codes.bytes});
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
