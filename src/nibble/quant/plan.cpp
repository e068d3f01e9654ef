#include "nibble/quant/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

/// Whether `pattern`, "*" standing for any characters, matches all of `name`.
bool matches(std::string_view pattern, std::string_view name) {
  // Greedy with one step back: on a mismatch the last "*" takes one more character.
  std::size_t p = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_name = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool is_excluded(const QuantizeOptions& options, const std::string& name) {
  return std::any_of(options.exclude.begin(), options.exclude.end(),
                     [&](const std::string& pattern) { return matches(pattern, name); });
}

void check_patterns(const QuantizeOptions& options, const ModelSpec& spec) {
  const std::vector<LinearSpec> linears = spec.linears();
  for (const std::string& pattern : options.exclude) {
    const bool used = std::any_of(linears.begin(), linears.end(), [&](const LinearSpec& linear) {
      return matches(pattern, linear.name);
    });
    if (!used) {
      fail("--exclude \"{}\" matches no linear layer (they are named like \"{}\")", pattern,
           linears.front().name);
    }
  }
}

}  // namespace

int usable_group_size(const WeightCodec& codec, int wanted, std::int64_t in_features) {
  for (const int size : codec.group_sizes) {
    if (size <= wanted && in_features % size == 0) return size;
  }
  return 0;
}

const LayerPlan& QuantizePlan::layer(const std::string& name) const {
  const auto found = std::find_if(layers.begin(), layers.end(), [&](const LayerPlan& layer) {
    return layer.linear.name == name;
  });
  assert(found != layers.end());
  return *found;
}

std::vector<const LayerPlan*> QuantizePlan::packed() const {
  std::vector<const LayerPlan*> all;
  for (const LayerPlan& layer : layers) {
    if (layer.packed) all.push_back(&layer);
  }
  if (embedding) all.push_back(&*embedding);
  return all;
}

PackedLayouts QuantizePlan::packed_layouts() const {
  PackedLayouts layouts;
  for (const LayerPlan* layer : packed()) layouts.emplace(layer->module, layer->layout);
  return layouts;
}

LayerActivations QuantizePlan::layer_activations() const {
  LayerActivations activations;
  if (!options.activations) return activations;
  for (const LayerPlan& layer : layers) {
    if (layer.packed && !layer.is_head)
      activations.emplace(layer.linear.name, *options.activations);
  }
  return activations;
}

namespace {

/// The layout of a layer in the format with so many bits.
WeightLayout plan_layout(int group_size, const WeightCodec& codec, const LinearSpec& linear) {
  WeightLayout layout{.format = codec.format, .rows = linear.out, .cols = linear.in};
  if (codec.has_groups()) {
    layout.group_size = usable_group_size(codec, group_size, linear.in);
    if (layout.group_size == 0) {
      fail(
          "tensor \"{}.weight\": no group size of {} up to {} divides its {} input features "
          "(--exclude keeps a layer as it is)",
          linear.name, fmt::join(codec.group_sizes, ", "), group_size, linear.in);
    }
  }
  if (codec.max_cols > 0 && linear.in > codec.max_cols) {
    fail(
        "tensor \"{}.weight\": {} bits take up to {} input features, it has {} (--exclude keeps a "
        "layer as it is)",
        linear.name, codec.bits, codec.max_cols, linear.in);
  }
  return layout;
}

/// The format that is asked for.
const WeightCodec& wanted_codec(int bits) {
  const WeightCodec* codec = find_checkpoint_codec(bits);
  if (codec == nullptr) fail("there is no format of {} bits a weight", bits);
  return *codec;
}

/// Has the embedding stored as asked for, once all layers are planned.
void plan_embedding(const ModelSpec& spec, QuantizePlan& plan) {
  const EmbeddingStorage storage = plan.options.embedding;
  if (storage == EmbeddingStorage::kDense) return;
  LayerPlan& head = plan.layers.back();
  if (storage == EmbeddingStorage::kHead) {
    if (!spec.tied_head) {
      fail("--embedding head: \"{}\" has weights of its own, expected a model whose head is tied",
           spec.head.name);
    }
    if (!head.packed) fail("--embedding head: the head is kept dense, expected a quantized one");
    head.module = spec.embedding;
    return;
  }
  if (spec.tied_head && !head.packed) {
    fail(
        "--embedding int8: the head, which is tied to the embedding, is kept dense, expected a "
        "quantized one");
  }
  const LinearSpec matrix = spec.embedding_matrix();
  plan.embedding =
      LayerPlan{.linear = matrix,
                .module = matrix.name,
                .packed = true,
                .layout = plan_layout(plan.options.group_size, wanted_codec(8), matrix)};
}

}  // namespace

std::vector<WeightLayout> possible_layouts(const QuantizePlan& plan, const LayerPlan& layer) {
  std::vector<WeightLayout> layouts;
  for (const int bits : {3, 4, 8}) {
    const WeightCodec& codec = wanted_codec(bits);
    WeightLayout layout{.format = codec.format, .rows = layer.linear.out, .cols = layer.linear.in};
    if (codec.has_groups()) {
      layout.group_size = usable_group_size(codec, plan.options.group_size, layout.cols);
      if (layout.group_size == 0) continue;
    }
    if (codec.max_cols > 0 && layout.cols > codec.max_cols) continue;
    layouts.push_back(layout);
  }
  return layouts;
}

QuantizePlan plan_quantization(const ModelSpec& spec, const QuantizeOptions& options) {
  check_patterns(options, spec);
  const WeightCodec& codec = wanted_codec(options.bits);
  QuantizePlan plan{.options = options};
  // (group size, input features, group size asked for) -> layers
  std::map<std::tuple<int, std::int64_t, int>, int> fallbacks;
  for (const Module& module : spec.modules()) {
    if (module.kind != ModuleKind::kLinear) continue;
    LayerPlan layer{.linear = module.linear(),
                    .module = module.name,
                    .is_head = module.role == ModuleRole::kHead,
                    .shares_scale = options.shares_scale};
    const bool is_outside = module.layer < 0;
    const int wanted =
        is_outside && options.outer_group_size > 0 ? options.outer_group_size : options.group_size;
    layer.packed = !is_excluded(options, module.name);
    if (is_outside) {
      layer.packed &= layer.is_head ? options.quantize_head : options.quantize_projections;
    }
    if (layer.packed) layer.layout = plan_layout(wanted, codec, layer.linear);
    const int group_size = layer.layout.group_size;
    if (group_size > 0 && group_size != wanted) ++fallbacks[{group_size, layer.linear.in, wanted}];
    plan.layers.push_back(std::move(layer));
  }
  plan_embedding(spec, plan);
  for (const auto& [key, count] : fallbacks) {
    const auto& [group_size, in, wanted] = key;
    plan.notes.push_back(
        fmt::format("group size {} does not divide {} input features: {} for {} {}", wanted, in,
                    group_size, count, count == 1 ? "layer" : "layers"));
  }
  return plan;
}

}  // namespace nibble
