#include "nibble/convert/hugging_face.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nibble/core/stopwatch.h"
#include "nibble/models/recipe_files.h"
#include "nibble/models/rope_frequencies.h"
#include "nibble/models/tokenizer_files.h"
#include "nibble/weights/dense.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

/// Llama 3's scaling (original context 8192, low 1, high 4) by the factor that `rope`'s factors
/// have at most, if that gives all of them; else nothing.
std::optional<RopeSpec> as_llama3(const RopeSpec& rope, std::int64_t head_dim) {
  if (rope.scaling != RopeSpec::Scaling::kFactors) return std::nullopt;
  RopeSpec llama3;
  llama3.theta = rope.theta;
  llama3.scaling = RopeSpec::Scaling::kLlama3;
  llama3.factor = static_cast<double>(*std::max_element(rope.factors.begin(), rope.factors.end()));
  const std::vector<float> found = rope_frequencies(rope, head_dim);
  const std::vector<float> expected = rope_frequencies(llama3, head_dim);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::abs(found[i] - expected[i]) > 1e-5f * expected[i]) return std::nullopt;
  }
  return llama3;
}

void copy_special_ids(const Json& from, Json& to) {
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (from.contains(key)) to[key] = from[key];
  }
}

std::vector<TensorDeclaration> declare(const std::vector<StoredParameter>& parameters,
                                       DType dtype) {
  std::vector<TensorDeclaration> declarations;
  for (const StoredParameter& parameter : parameters) {
    declarations.push_back({parameter.name, dtype, parameter.shape});
  }
  return declarations;
}

}  // namespace

RoundingError encode_dense(DType dtype, const ParameterRow& row, std::byte* out) {
  store_as_dtype(dtype, row.values, out);
  std::vector<float> stored(row.values.begin(), row.values.end());
  round_to_dtype(dtype, stored);
  RoundingError error;
  for (std::size_t i = 0; i < stored.size(); ++i) error.add(row.values[i], stored[i]);
  return error;
}

Json export_config(const Checkpoint& checkpoint, DType dtype) {
  Json config = checkpoint.config();
  config.erase("dtype");
  config.erase("quantization_config");
  config.erase("compression_config");
  config["torch_dtype"] = torch_dtype_name(dtype);
  if (has_own_packed_head(checkpoint)) config["tie_word_embeddings"] = false;
  const ModelSpec& spec = checkpoint.spec();
  if (const auto llama3 = spec.rope ? as_llama3(*spec.rope, spec.head_dim) : std::nullopt) {
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", llama3->factor},
                              {"low_freq_factor", llama3->low_freq_factor},
                              {"high_freq_factor", llama3->high_freq_factor},
                              {"original_max_position_embeddings", 8192}};
  }
  return config;
}

void write_exported_files(const Checkpoint& checkpoint, CheckpointWriter& writer) {
  if (!checkpoint.is_gguf()) {
    copy_recipe_files(checkpoint.path(), writer.folder());
    return copy_tokenizer_files(checkpoint.path(), writer.folder());
  }
  if (checkpoint.has_tokenizer()) checkpoint.load_tokenizer().save_as_json(writer.folder());
  Json generation = {{"_from_model_config", true}};
  copy_special_ids(checkpoint.config(), generation);
  writer.write_file("generation_config.json", json_text(generation) + "\n");
}

ExportReport export_hugging_face(const Checkpoint& checkpoint, Compute& compute, DType dtype,
                                 const fs::path& out, bool replace) {
  const Stopwatch stopwatch;
  const std::vector<StoredParameter> parameters = parameters_to_export(checkpoint);
  CheckpointWriter writer(
      {.path = out, .replace = replace, .sources = checkpoint.source_paths()},
      FolderContents{.config = json_text(export_config(checkpoint, dtype)) + "\n",
                     .tensors = declare(parameters, dtype)});
  write_exported_files(checkpoint, writer);
  ExportReport report;
  report.bytes_out = static_cast<std::int64_t>(writer.tensors().file_bytes());
  Progress progress("exporting", report.bytes_out, "B");
  const auto encode = [dtype](const ParameterRow& row, std::byte* to) {
    return encode_dense(dtype, row, to);
  };
  for (const StoredParameter& parameter : parameters) {
    const ParameterReader reader(checkpoint, compute, parameter);
    const RoundingError error =
        reader.write({.row_bytes = reader.cols() * dtype_layout(dtype).bytes, .encode = encode},
                     writer, parameter.name, progress);
    report.tensors.push_back({.name = parameter.name,
                              .shape = parameter.shape,
                              .format = std::string(dtype_name(dtype)),
                              .error = error});
  }
  writer.commit();
  if (has_own_packed_head(checkpoint)) {
    report.notes.emplace_back(
        "the head is a quantized copy of the tied embedding: it is written as a tensor of its own");
  }
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace nibble
