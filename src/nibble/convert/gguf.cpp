// GGUF files as llama.cpp's converter and quantizer would write them, of the same names and row
// orders that reading undoes (models/gguf_names.h).
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nibble/convert/gguf_metadata.h"
#include "nibble/convert/hugging_face.h"
#include "nibble/core/error.h"
#include "nibble/core/stopwatch.h"
#include "nibble/models/gguf_names.h"
#include "nibble/weights/ggml_blocks.h"
#include "nibble/weights/ggml_quantize.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

/// A tensor of the file and the parameter it is made of.
struct GgufTensor {
  std::string name;
  DType dtype;
  StoredParameter parameter;
  GgufModule module;
};

bool is_quantized(DType dtype) {
  return dtype_layout(dtype).block > 1;
}

/// The type asked for, or one like it that rows of `cols` can have.
DType fitting_type(DType wanted, std::int64_t cols) {
  if (wanted == DType::kQ4_K && cols % dtype_layout(wanted).block != 0) wanted = DType::kQ4_1;
  return cols % dtype_layout(wanted).block == 0 ? wanted : DType::kBF16;
}

class TypeChooser {
 public:
  TypeChooser(const Checkpoint& checkpoint, std::optional<DType> type)
      : checkpoint_(checkpoint), type_(type) {}

  /// Of a matrix or vector. Vectors are F32, as llama.cpp expects.
  DType choose(const StoredParameter& parameter) {
    if (!parameter.is_matrix()) return DType::kF32;
    const DType wanted = wanted_type(parameter);
    const DType dtype = fitting_type(wanted, parameter.shape.back());
    if (dtype != wanted) ++misfits_[{wanted, dtype}];
    return dtype;
  }

  void add_notes(std::vector<std::string>& notes) const {
    for (const auto& [types, count] : misfits_) {
      notes.push_back(fmt::format("{} {} of rows that are not whole blocks of {}: written as {}",
                                  count, count == 1 ? "tensor" : "tensors", dtype_name(types.first),
                                  dtype_name(types.second)));
    }
    if (q8_0_instead_ > 0) {
      notes.push_back(fmt::format(
          "embedding and head are written as Q8_0: {} bits cost more there than elsewhere",
          dtype_name(*type_).substr(1, 1)));
    }
  }

 private:
  DType wanted_type(const StoredParameter& parameter) {
    if (!type_) return own_type(parameter);
    const ModuleRole role = parameter.module.role;
    const bool is_edge = role == ModuleRole::kEmbedding || role == ModuleRole::kHead;
    const bool is_finer = !parameter.is_quantized || own_type(parameter) == DType::kQ8_0;
    if (is_edge && is_finer && is_quantized(*type_) && *type_ != DType::kQ8_0) {
      ++q8_0_instead_;
      return DType::kQ8_0;
    }
    return *type_;
  }

  /// The type that holds a packed layer's integers.
  DType own_type(const StoredParameter& parameter) const {
    return parameter.is_quantized
               ? integer_format(checkpoint_, parameter.module.linear())->block_type
               : DType::kBF16;
  }

  const Checkpoint& checkpoint_;
  std::optional<DType> type_;
  std::map<std::pair<DType, DType>, int> misfits_;
  int q8_0_instead_ = 0;
};

std::vector<GgufTensor> plan_tensors(const Checkpoint& checkpoint, const Architecture& architecture,
                                     TypeChooser& types) {
  std::map<std::string, StoredParameter> parameters;
  for (StoredParameter& parameter : parameters_to_export(checkpoint)) {
    std::string name = parameter.name;
    parameters.emplace(std::move(name), std::move(parameter));
  }
  std::vector<GgufTensor> tensors;
  for (const GgufModule& module : gguf_modules(checkpoint.spec(), architecture)) {
    for (const char* kind : {".weight", ".bias"}) {
      auto parameter = parameters.extract(module.name + kind);
      if (parameter.empty()) continue;
      const DType dtype = types.choose(parameter.mapped());
      tensors.push_back({module.gguf + kind, dtype, std::move(parameter.mapped()), module});
    }
  }
  if (!parameters.empty()) {
    fail("{}: GGUF has no name for the tensor \"{}\"", checkpoint.path().string(),
         parameters.begin()->first);
  }
  return tensors;
}

/// Adds what became of `values`, 32 or 256 elements, when they were encoded.
void add_error(DType dtype, const std::byte* encoded, std::span<const float> values,
               RoundingError& error) {
  float decoded[256];
  find_block_dequantizer(dtype)(encoded, decoded);
  for (std::size_t i = 0; i < values.size(); ++i) error.add(values[i], decoded[i]);
}

/// Scales of a block of 256 whose groups have them already.
ScalesOf256 scales_of(const ParameterRow& row, std::size_t first) {
  ScalesOf256 wanted;
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t group = (first + i * 32) / static_cast<std::size_t>(row.group_size);
    wanted.scales[i] = row.scales[group];
    wanted.minimums[i] = static_cast<float>(row.zeros[group]) * row.scales[group];
  }
  return wanted;
}

/// Encodes the block of `row` that begins at element `first`, with the source's own integers or
/// scales where it has some that fit.
void encode_block(DType dtype, const ParameterRow& row, std::size_t first, std::size_t size,
                  std::byte* out) {
  const std::size_t group = row.bits > 0 ? first / static_cast<std::size_t>(row.group_size) : 0;
  const bool in_groups = row.bits > 0 && row.bits <= 4;
  if (dtype == DType::kQ4_1 && in_groups) {
    encode_q4_1(row.q.subspan(first, size), row.scales[group], row.zeros[group], out);
  } else if (dtype == DType::kQ4_K && in_groups) {
    encode_q4_k(row.values.subspan(first, size), scales_of(row, first), out);
  } else if (dtype == DType::kQ8_0 && row.bits == 8) {
    encode_q8_0(row.q.subspan(first, size), row.scales[group], row.zeros[group], out);
  } else {
    quantize_row(dtype, row.values.subspan(first, size), out);
  }
}

RoundingError encode_blocks(DType dtype, const ParameterRow& row, std::byte* out) {
  RoundingError error;
  error.finite = std::all_of(row.values.begin(), row.values.end(),
                             [](float value) { return std::isfinite(value); });
  if (!error.finite) return error;
  const DTypeLayout layout = dtype_layout(dtype);
  const auto size = static_cast<std::size_t>(layout.block);
  for (std::size_t first = 0; first < row.values.size(); first += size) {
    encode_block(dtype, row, first, size, out);
    add_error(dtype, out, row.values.subspan(first, size), error);
    out += layout.bytes;
  }
  return error;
}

/// A vector: F32, in the row order of its matrix.
void write_vector(const Checkpoint& checkpoint, const GgufTensor& tensor,
                  CheckpointWriter& writer) {
  const auto size = static_cast<std::size_t>(tensor.parameter.shape[0]);
  std::vector<float> values(size);
  read_vector(checkpoint.float_tensor(tensor.parameter.name, tensor.parameter.shape), values);
  std::vector<float> stored(size);
  const std::int64_t heads = tensor.module.interleaved_heads;
  for (std::int64_t i = 0; i < std::ssize(values); ++i) {
    const std::int64_t place = heads == 0 ? i : interleaved_row(i, std::ssize(values) / heads);
    stored[static_cast<std::size_t>(place)] =
        values[static_cast<std::size_t>(i)] + tensor.module.added;
  }
  writer.tensors().append(tensor.name, std::as_bytes(std::span(stored)));
}

RoundingError write_matrix(const Checkpoint& checkpoint, Compute& compute, const GgufTensor& tensor,
                           CheckpointWriter& writer, Progress& progress) {
  const ParameterReader reader(checkpoint, compute, tensor.parameter);
  const DTypeLayout layout = dtype_layout(tensor.dtype);
  const auto encode = [&](const ParameterRow& row, std::byte* out) {
    return is_quantized(tensor.dtype) ? encode_blocks(tensor.dtype, row, out)
                                      : encode_dense(tensor.dtype, row, out);
  };
  return reader.write({.row_bytes = reader.cols() / layout.block * layout.bytes,
                       .interleaved_heads = tensor.module.interleaved_heads,
                       .encode = encode},
                      writer, tensor.name, progress);
}

std::vector<TensorDeclaration> declare(const std::vector<GgufTensor>& tensors,
                                       const std::vector<float>& rope_factors) {
  std::vector<TensorDeclaration> all;
  if (!rope_factors.empty()) {
    all.push_back({kGgufRopeFactors, DType::kF32, {std::ssize(rope_factors)}});
  }
  for (const GgufTensor& tensor : tensors) {
    all.push_back({tensor.name, tensor.dtype, tensor.parameter.shape});
  }
  return all;
}

void add_source_notes(const Checkpoint& checkpoint, ExportReport& report) {
  if (has_own_packed_head(checkpoint)) {
    report.notes.emplace_back(
        "the head is a quantized copy of the tied embedding: it is written as a tensor of its own");
  }
  if (!checkpoint.has_tokenizer()) {
    report.notes.emplace_back("the model has no tokenizer files, so that the file has none either");
  }
}

}  // namespace

ExportReport export_gguf(const Checkpoint& checkpoint, Compute& compute, std::optional<DType> type,
                         const fs::path& out, bool replace) {
  const Stopwatch stopwatch;
  const Architecture& architecture = gguf_architecture(checkpoint);
  TypeChooser types(checkpoint, type);
  const std::vector<GgufTensor> tensors = plan_tensors(checkpoint, architecture, types);
  const std::vector<float> rope_factors = gguf_rope_factors(checkpoint.spec());
  ExportReport report;
  types.add_notes(report.notes);
  add_source_notes(checkpoint, report);

  CheckpointWriter writer(
      {.path = out, .replace = replace, .sources = checkpoint.source_paths()},
      GgufContents{.metadata = gguf_metadata(checkpoint, architecture, type, report.notes),
                   .tensors = declare(tensors, rope_factors)});
  report.bytes_out = static_cast<std::int64_t>(writer.tensors().file_bytes());
  Progress progress("exporting", report.bytes_out, "B");
  if (!rope_factors.empty()) {
    writer.tensors().append(kGgufRopeFactors, std::as_bytes(std::span(rope_factors)));
  }
  for (const GgufTensor& tensor : tensors) {
    RoundingError error;
    if (tensor.parameter.is_matrix()) {
      error = write_matrix(checkpoint, compute, tensor, writer, progress);
    } else {
      write_vector(checkpoint, tensor, writer);
    }
    report.tensors.push_back({.name = tensor.name,
                              .shape = tensor.parameter.shape,
                              .format = std::string(dtype_name(tensor.dtype)),
                              .error = error});
  }
  writer.commit();
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace nibble
