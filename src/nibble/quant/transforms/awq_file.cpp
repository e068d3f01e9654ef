#include "nibble/quant/transforms/awq_file.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/formats/torch_bin.h"
#include "nibble/models/tensor_source.h"

namespace nibble {
namespace {

constexpr const char* kFormat = "nibble-awq";
constexpr int kVersion = 1;
constexpr const char* kScaleSuffix = ".scale";
constexpr const char* kBoundsSuffix = ".bounds";
/// Scales are around one; by more than this they would leave nothing of weights of 16 bits.
constexpr float kMostScale = 0x1p24F;

/// Puts what a file says of modules by name in its place.
class SearchReader {
 public:
  SearchReader(std::string origin, const ModelSpec& spec)
      : origin_(std::move(origin)), spec_(spec) {
    for (Module& module : spec.modules()) {
      if (module.layer >= 0) modules_.emplace(module.name, std::move(module));
    }
    search_.origin = origin_;
    search_.blocks.resize(static_cast<std::size_t>(spec.n_layers));
  }

  const std::string& origin() const { return origin_; }

  AwqScale& add_scale(const std::string& before, const std::vector<std::string>& layers,
                      const TensorView& scales) {
    const Module& module = find(before);
    ScaleGroup group = group_of(module, layers);
    const std::int64_t inputs = spec_.block_linear(group.layers.front())->in;
    if (scales.elements() != inputs) {
      fail("{}: {} scales behind \"{}\", expected {}", origin_, scales.elements(), before, inputs);
    }
    AwqScale scale{.group = std::move(group), .scales = numbers(before, scales)};
    for (const float s : scale.scales) {
      if (!(s > 0)) fail("{}: a scale behind \"{}\" is not above 0", origin_, before);
      if (s > kMostScale || s < 1 / kMostScale) {
        fail("{}: a scale behind \"{}\" is {}, expected {:.2g} to {:.2g}", origin_, before, s,
             1 / kMostScale, kMostScale);
      }
    }
    std::vector<AwqScale>& all = search_.blocks[static_cast<std::size_t>(module.layer)].scales;
    for (const AwqScale& other : all) {
      if (other.group.before == module.role) fail("{}: \"{}\" comes twice", origin_, before);
    }
    return all.emplace_back(std::move(scale));
  }

  /// bounds: (out features, groups), or with a third dimension of 1.
  void add_bounds(const std::string& layer, const TensorView& bounds) {
    const Module& module = find(layer);
    const std::int64_t groups = bounds.shape.size() < 2 ? 0 : bounds.shape[1];
    const bool fits = module.kind == ModuleKind::kLinear && groups > 0 &&
                      bounds.elements() == module.shape[0] * groups &&
                      bounds.shape[0] == module.shape[0] && module.shape[1] % groups == 0;
    if (!fits) {
      fail("{}: bounds of \"{}\" of shape {}, expected one for each of {} rows and its groups",
           origin_, layer, shape_to_string(bounds.shape), module.shape[0]);
    }
    AwqClip clip{module.role, groups, numbers(layer, bounds)};
    if (!std::all_of(clip.bounds.begin(), clip.bounds.end(), [](float b) { return b >= 0; })) {
      fail("{}: a bound of \"{}\" is below 0", origin_, layer);
    }
    std::vector<AwqClip>& all = search_.blocks[static_cast<std::size_t>(module.layer)].clips;
    for (const AwqClip& other : all) {
      if (other.layer == module.role) fail("{}: bounds of \"{}\" come twice", origin_, layer);
    }
    all.push_back(std::move(clip));
  }

  void set_bits(int bits) { search_.bits = bits; }
  /// Throws Error if there was nothing.
  AwqSearch take() {
    const bool is_empty =
        std::all_of(search_.blocks.begin(), search_.blocks.end(),
                    [](auto& block) { return block.scales.empty() && block.clips.empty(); });
    if (is_empty) fail("{}: has neither scales nor bounds, so nothing that was searched", origin_);
    return std::move(search_);
  }

 private:
  const Module& find(const std::string& name) const {
    const auto found = modules_.find(name);
    if (found == modules_.end()) {
      fail("{}: \"{}\" is no module of a decoder block of this model", origin_, name);
    }
    return found->second;
  }

  ScaleGroup group_of(const Module& before, std::vector<std::string> layers) const {
    std::sort(layers.begin(), layers.end());
    for (ScaleGroup& group : spec_.scale_groups()) {
      std::vector<std::string> names;
      for (const ModuleRole role : group.layers) {
        names.push_back(spec_.block_module(role, before.layer));
      }
      std::sort(names.begin(), names.end());
      if (group.before == before.role && names == layers) return std::move(group);
    }
    fail("{}: scales of \"{}\"{}, which this model cannot take from \"{}\"", origin_,
         layers.empty() ? "" : layers.front(), layers.size() > 1 ? " ..." : "", before.name);
  }

  std::vector<float> numbers(const std::string& name, const TensorView& tensor) const {
    const bool is_float =
        tensor.dtype == DType::kF32 || tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16;
    if (!is_float) fail("{}: the numbers of \"{}\" are not floats", origin_, name);
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    read_rows({.name = name, .view = tensor}, 0, tensor.rows(), values.data());
    for (const float value : values) {
      if (!std::isfinite(value)) fail("{}: a number of \"{}\" is not finite", origin_, name);
    }
    return values;
  }

  std::string origin_;
  const ModelSpec& spec_;
  std::map<std::string, Module> modules_;
  AwqSearch search_;
};

/// llm-awq's {"scale": [(name before, [names], scales) ...], "clip": [(name, bounds) ...]}.
class ZooReader {
 public:
  ZooReader(const TorchObject& file, SearchReader& to) : file_(file), to_(to) {}

  void read() {
    for (const PickleValue::Id entry : list("scale")) {
      const std::vector<PickleValue::Id>& items = tuple(entry, 3);
      std::vector<std::string> layers;
      for (const PickleValue::Id name : value(items[1]).items) layers.push_back(text(name));
      to_.add_scale(text(items[0]), layers, tensor(items[2]));
    }
    for (const PickleValue::Id entry : list("clip")) {
      const std::vector<PickleValue::Id>& items = tuple(entry, 2);
      to_.add_bounds(text(items[0]), tensor(items[1]));
    }
  }

 private:
  using Kind = PickleValue::Kind;

  const PickleValue& value(PickleValue::Id id) const { return file_.pickle()[id]; }
  [[noreturn]] void refuse(const std::string& what) const {
    fail("{}: {}, so not a search that llm-awq saved", to_.origin(), what);
  }
  const std::vector<PickleValue::Id>& list(std::string_view key) const {
    const PickleValue& root = value(file_.pickle().root);
    if (root.kind != Kind::kDict) refuse("holds no dictionary");
    for (std::size_t i = 0; i < root.items.size(); i += 2) {
      const PickleValue& found = value(root.items[i + 1]);
      if (value(root.items[i]).text != key) continue;
      if (found.kind != Kind::kList) refuse(fmt::format("\"{}\" is not a list", key));
      return found.items;
    }
    refuse(fmt::format("has no \"{}\"", key));
  }
  const std::vector<PickleValue::Id>& tuple(PickleValue::Id id, std::size_t size) const {
    const PickleValue& found = value(id);
    if (found.kind != Kind::kTuple || found.items.size() != size) {
      refuse(fmt::format("an entry is not a tuple of {}", size));
    }
    return found.items;
  }
  std::string text(PickleValue::Id id) const {
    if (value(id).kind != Kind::kString) refuse("a name is not a string");
    return std::string(value(id).text);
  }
  const TensorView& tensor(PickleValue::Id id) const {
    const TensorView* found = file_.tensor(id);
    if (found == nullptr) refuse("numbers are not a tensor");
    return *found;
  }

  const TorchObject& file_;
  SearchReader& to_;
};

void read_own(const std::filesystem::path& path, SearchReader& to) {
  const SafetensorsFile file(path);
  const auto metadata = [&](const std::string& key) -> const std::string& {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end()) {
      fail("{}: has no \"{}\" in its metadata, so not a search of AWQ's", to.origin(), key);
    }
    return found->second;
  };
  if (metadata("format") != kFormat || metadata("version") != std::to_string(kVersion)) {
    fail("{}: is \"{}\" of version {}, expected \"{}\" of version {}", to.origin(),
         metadata("format"), metadata("version"), kFormat, kVersion);
  }
  const Json description = parse_json(metadata("search"), to.origin());
  const JsonObject search(description, to.origin());
  to.set_bits(static_cast<int>(search.get_int("bits", 0, 8)));
  if (!description.contains("scales") || !description["scales"].is_array()) {
    fail("{}: \"scales\" must be an array", to.origin());
  }
  for (const Json& entry : description["scales"]) {
    const JsonObject scale(entry, to.origin() + ": scales");
    const std::string before = scale.get_string("before");
    if (!entry.contains("layers") || !entry["layers"].is_array()) {
      fail("{}: \"layers\" must be an array", scale.origin());
    }
    std::vector<std::string> layers;
    for (const Json& layer : entry["layers"]) {
      if (!layer.is_string()) fail("{}: \"layers\" must be names", scale.origin());
      layers.push_back(layer.get<std::string>());
    }
    AwqScale& added = to.add_scale(before, layers, file.get(before + kScaleSuffix));
    added.ratio = scale.find_number("ratio");
  }
  for (const std::string& name : file.names()) {
    if (!name.ends_with(kBoundsSuffix)) continue;
    to.add_bounds(name.substr(0, name.size() - std::string_view(kBoundsSuffix).size()),
                  file.get(name));
  }
}

}  // namespace

AwqSearch read_awq_search(const std::filesystem::path& path, const ModelSpec& spec) {
  SearchReader reader(path.string(), spec);
  if (is_of_torch(path)) {
    const TorchObject file(path);
    ZooReader(file, reader).read();
  } else {
    read_own(path, reader);
  }
  return reader.take();
}

void write_awq_search(const std::filesystem::path& path, const ModelSpec& spec,
                      const AwqSearch& search) {
  std::vector<TensorDeclaration> declarations;
  std::vector<std::span<const float>> values;
  Json scales = Json::array();
  for (std::size_t layer = 0; layer < search.blocks.size(); ++layer) {
    const auto name = [&](ModuleRole role) {
      return spec.block_module(role, static_cast<std::int64_t>(layer));
    };
    for (const AwqScale& scale : search.blocks[layer].scales) {
      const std::string before = name(scale.group.before);
      Json entry = {{"before", before}, {"layers", Json::array()}};
      for (const ModuleRole role : scale.group.layers) entry["layers"].push_back(name(role));
      if (scale.ratio) entry["ratio"] = *scale.ratio;
      if (!scale.losses.empty()) entry["losses"] = scale.losses;
      scales.push_back(std::move(entry));
      declarations.push_back({before + kScaleSuffix, DType::kF32, {std::ssize(scale.scales)}});
      values.emplace_back(scale.scales);
    }
    for (const AwqClip& clip : search.blocks[layer].clips) {
      declarations.push_back({name(clip.layer) + kBoundsSuffix,
                              DType::kF32,
                              {std::ssize(clip.bounds) / clip.groups, clip.groups}});
      values.emplace_back(clip.bounds);
    }
  }
  const Json description = {{"bits", search.bits}, {"scales", std::move(scales)}};
  SafetensorsWriter writer(
      path, declarations,
      {{"format", kFormat}, {"version", std::to_string(kVersion)}, {"search", description.dump()}});
  for (std::size_t i = 0; i < declarations.size(); ++i) {
    writer.append(declarations[i].name, std::as_bytes(values[i]));
  }
  writer.commit();
}

}  // namespace nibble
