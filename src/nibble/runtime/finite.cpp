#include "nibble/runtime/finite.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/ops/input_observer.h"

namespace nibble {
namespace {

/// Follows the inputs of linear layers in the order of the forward pass.
class FiniteObserver : public InputObserver {
 public:
  explicit FiniteObserver(const ModelSpec& spec) {
    for (const LinearSpec& linear : spec.linears()) names_.push_back(linear.name);
    in_pass_ = names_.size() - (spec.project_out ? 2 : 1);  // the others are of the logits
  }

  void observe(const ObservedInput& input) override {
    const auto count = static_cast<std::size_t>(input.tokens * input.features);
    if (!found_ && !all_finite({input.x, count})) {
      found_ = true;
      behind_ = next_ == 0 ? std::string() : names_[next_ - 1];
      ahead_ = names_[next_];
    }
    next_ += input.calls.size();
  }

  /// Before each pass over a part of the tokens.
  void begin_pass() { next_ = 0; }
  void begin_logits() { next_ = in_pass_; }

  bool found() const { return found_; }
  /// The last linear layer whose input is finite; empty: none.
  const std::string& behind() const { return behind_; }
  /// The first one whose input is not.
  const std::string& ahead() const { return ahead_; }
  const std::string& head() const { return names_.back(); }

 private:
  std::vector<std::string> names_;
  std::size_t in_pass_;
  std::size_t next_ = 0;  // of names_
  bool found_ = false;
  std::string behind_;
  std::string ahead_;
};

/// Sets the observer for as long as this lives.
class Observing {
 public:
  Observing(Compute& compute, InputObserver& observer)
      : compute_(compute), before_(compute.input_observer()) {
    compute.set_input_observer(&observer);
  }
  ~Observing() { compute_.set_input_observer(before_); }
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;

 private:
  Compute& compute_;
  InputObserver* before_;
};

/// The block that a linear layer belongs to; nothing for those outside of all.
std::optional<std::int64_t> layer_of(const ModelSpec& spec, const std::string& name) {
  const std::vector<Module> modules = spec.modules();
  const auto found = std::find_if(modules.begin(), modules.end(),
                                  [&](const Module& module) { return module.name == name; });
  if (found == modules.end() || found->layer < 0) return std::nullopt;
  return found->layer;
}

/// A parameter of block `layer`'s norms with values that are not finite; empty: none.
std::string broken_norm(const Checkpoint& checkpoint, std::int64_t layer) {
  for (const Module& module : checkpoint.spec().modules()) {
    if (module.layer != layer || module.kind != ModuleKind::kNorm) continue;
    std::vector<float> values(static_cast<std::size_t>(module.shape[0]));
    const auto broken = [&](const std::string& name) {
      read_vector(checkpoint.float_tensor(name, module.shape), values);
      return !all_finite(values);
    };
    if (module.has_weight && broken(module.name + ".weight")) return module.name + ".weight";
    if (module.has_bias && broken(module.name + ".bias")) return module.name + ".bias";
  }
  return "";
}

/// "layer 3: behind model.layers.3.mlp.down_proj, before model.layers.4.self_attn.q_proj".
std::string place_of(const Checkpoint& checkpoint, const FiniteObserver& observer) {
  const ModelSpec& spec = checkpoint.spec();
  if (!observer.found()) return "the head, " + observer.head();
  const auto after = layer_of(spec, observer.ahead());
  if (const std::string norm = after ? broken_norm(checkpoint, *after) : ""; !norm.empty()) {
    return fmt::format("layer {}: {}", *after, norm);
  }
  if (observer.behind().empty()) return "the embedding, " + spec.embedding;
  const std::string between =
      fmt::format("behind {}, before {}", observer.behind(), observer.ahead());
  const auto layer = layer_of(spec, observer.behind());
  return layer ? fmt::format("layer {}: {}", *layer, between) : between;
}

}  // namespace

bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7f800000;
  constexpr std::size_t kLot = 16;  // without a branch, so that they are done at once
  std::uint32_t found[kLot] = {};
  const auto look = [&](const float* value, std::uint32_t& place) {
    std::uint32_t bits;
    std::memcpy(&bits, value, sizeof bits);
    place |= static_cast<std::uint32_t>((bits & kExponent) == kExponent);
  };
  std::size_t i = 0;
  for (; i + kLot <= values.size(); i += kLot) {
    for (std::size_t j = 0; j < kLot; ++j) look(&values[i + j], found[j]);
  }
  for (; i < values.size(); ++i) look(&values[i], found[0]);
  return std::all_of(std::begin(found), std::end(found),
                     [](std::uint32_t one) { return one == 0; });
}

void check_finite(Model& model, std::span<const float> logits,
                  std::span<const std::int32_t> tokens) {
  if (all_finite(logits)) return;
  constexpr std::size_t kBatch = 256;
  const ModelSpec& spec = model.spec();
  FiniteObserver observer(spec);
  {
    const Observing observing(model.compute(), observer);
    KvCache cache = model.make_cache(static_cast<std::int64_t>(tokens.size()));
    std::vector<float> hidden(kBatch * static_cast<std::size_t>(spec.hidden));
    for (std::size_t at = 0; at < tokens.size() && !observer.found(); at += kBatch) {
      observer.begin_pass();
      const auto part = tokens.subspan(at, std::min(kBatch, tokens.size() - at));
      model.forward(part, cache, hidden.data());
      observer.begin_logits();
      std::vector<float> out(static_cast<std::size_t>(spec.vocab));
      model.logits(hidden.data() + (part.size() - 1) * static_cast<std::size_t>(spec.hidden), 1,
                   out.data());
    }
  }
  fail("{}: results are no numbers (NaN or infinity), which first arise in {}",
       model.checkpoint().path().string(), place_of(model.checkpoint(), observer));
}

}  // namespace nibble
