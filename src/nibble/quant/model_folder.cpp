#include "nibble/quant/model_folder.h"

#include <array>
#include <nlohmann/json.hpp>
#include <system_error>

#include "nibble/core/error.h"
#include "nibble/core/output.h"
#include "nibble/models/quantization_config.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr std::array kCompanions = {"generation_config.json",
                                    "tokenizer.json",
                                    "tokenizer.model",
                                    "tokenizer_config.json",
                                    "vocab.json",
                                    "merges.txt",
                                    "added_tokens.json",
                                    "special_tokens_map.json",
                                    "chat_template.jinja",
                                    "chat_template.json"};

const char* torch_dtype_name(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

}  // namespace

std::vector<ParameterSpec> dense_tensors(const ModelSpec& spec, const QuantizePlan& plan) {
  std::vector<ParameterSpec> tensors = spec.embeddings();
  for (const LayerPlan& layer : plan.layers) {
    const LinearSpec& linear = layer.linear;
    const bool is_tied_head = spec.tied_head && linear.name == spec.head.name;
    if (!layer.packed && !is_tied_head) {
      tensors.push_back({linear.name + ".weight", {linear.out, linear.in}});
    }
    if (linear.bias) tensors.push_back({linear.name + ".bias", {linear.out}});
  }
  for (ParameterSpec& parameter : spec.norm_parameters()) tensors.push_back(std::move(parameter));
  return tensors;
}

std::vector<TensorDeclaration> declarations(const ModelSpec& spec, const QuantizePlan& plan) {
  std::vector<TensorDeclaration> all;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.packed) continue;
    for (PackedPart& part : packed_parts(layer.layout)) {
      all.push_back({layer.linear.name + part.suffix, part.dtype, std::move(part.shape)});
    }
  }
  for (ParameterSpec& tensor : dense_tensors(spec, plan)) {
    all.push_back({std::move(tensor.name), plan.options.dtype, std::move(tensor.shape)});
  }
  return all;
}

std::int64_t parameter_count(const ModelSpec& spec) {
  std::int64_t count = 0;
  for (const auto& parameters : {spec.embeddings(), spec.norm_parameters()}) {
    for (const ParameterSpec& parameter : parameters) {
      count += TensorView{.shape = parameter.shape}.elements();
    }
  }
  for (const LinearSpec& linear : spec.linears()) {
    const bool is_tied_head = spec.tied_head && linear.name == spec.head.name;
    count += (is_tied_head ? 0 : linear.out * linear.in) + (linear.bias ? linear.out : 0);
  }
  return count;
}

void write_config(const Json& source_config, const QuantizePlan& plan, const std::string& algorithm,
                  const fs::path& folder) {
  Json config = source_config;
  config.erase("dtype");
  config.erase("quantization_config");
  config["torch_dtype"] = torch_dtype_name(plan.options.dtype);
  const PackedLayouts layouts = plan.packed_layouts();
  if (!layouts.empty())
    config["quantization_config"] = make_quantization_config(layouts, algorithm);
  OutputFile file(folder / "config.json");
  file.write(config.dump(2) + "\n");
  file.commit();
}

void copy_companions(const fs::path& from, const fs::path& to) {
  for (const char* name : kCompanions) {
    if (!fs::exists(from / name)) continue;
    std::error_code error;
    fs::copy_file(from / name, to / name, error);
    if (error) fail("{}: cannot be copied: {}", (from / name).string(), error.message());
  }
}

void write_companions(const Checkpoint& checkpoint, const fs::path& folder) {
  if (!checkpoint.is_gguf()) {
    copy_companions(checkpoint.path(), folder);
  } else if (checkpoint.has_tokenizer()) {
    checkpoint.load_tokenizer().save(folder);
  }
}

}  // namespace nibble
