#include "nibble/quant/transforms/awq.h"

#include <algorithm>
#include <map>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/quant/transforms/awq_clip.h"
#include "nibble/quant/transforms/awq_scales.h"
#include "nibble/quant/transforms/float_weights.h"
#include "nibble/quant/transforms/fold_scales.h"
#include "nibble/quant/transforms/trial_block.h"

namespace nibble {
namespace {

/// Layers that AWQ does not clip: their products with each other make clipping's effect hard to
/// tell.
bool is_clipped(const TransformContext& context, ModuleRole role) {
  return role != ModuleRole::kQ && role != ModuleRole::kK && plan_of(context, role).packed;
}

/// Layers that share an input, and what is to be known of it.
class Site {
 public:
  Site(const TransformContext& context, std::vector<ModuleRole> layers, bool clips)
      : layers_(std::move(layers)),
        name_(context.spec.block_module(layers_.front(), context.layer)),
        magnitudes_(features(context)) {
    for (const ScaleGroup& group : scalable_groups(context.spec, context.plan, context.layer)) {
      if (group.layers.front() == layers_.front()) group_ = group;
    }
    if (group_ && group_->inspected == ScaleGroup::Inspected::kLayer) {
      gram_.emplace(features(context));
    }
    for (const ModuleRole role : layers_) {
      if (clips && is_clipped(context, role)) clipped_.push_back(role);
    }
    if (!clipped_.empty()) {
      rows_.emplace(features(context), context.stream->samples() * context.stream->tokens());
    }
  }

  const std::optional<ScaleGroup>& group() const { return group_; }
  const std::vector<ModuleRole>& clipped() const { return clipped_; }
  std::vector<float> means() const { return magnitudes_.means(name_); }
  SampledRows& rows() { return *rows_; }

  void add(Compute& compute, const float* x, std::int64_t tokens) {
    if (group_) magnitudes_.add(compute, x, tokens);
    if (gram_) gram_->add(compute, x, tokens);
    if (rows_) rows_->add(x, tokens);
  }

  /// Once, behind the last add(). Gives back what memory it takes.
  std::optional<Gram> take_gram() {
    if (gram_) gram_->finish();
    return std::exchange(gram_, std::nullopt);
  }

 private:
  std::int64_t features(const TransformContext& context) const {
    return context.spec.block_linear(layers_.front())->in;
  }

  std::vector<ModuleRole> layers_;
  std::string name_;
  std::optional<ScaleGroup> group_;
  std::vector<ModuleRole> clipped_;
  InputMagnitudes magnitudes_;
  std::optional<Gram> gram_;
  std::optional<SampledRows> rows_;
};

/// The search in one block. Scales are all searched in the block as it is, then folded into it, and
/// bounds are searched for the scaled weights.
class BlockSearch {
 public:
  BlockSearch(const TransformContext& context, const AwqOptions& options)
      : context_(context),
        options_(options),
        samples_(context),
        mlp_layers_(context.spec.gate ? std::vector{ModuleRole::kGate, ModuleRole::kUp}
                                      : std::vector{ModuleRole::kUp}),
        qkv_(context, {ModuleRole::kQ, ModuleRole::kK, ModuleRole::kV}, options.clips),
        o_(context, {ModuleRole::kO}, options.clips),
        mlp_(context, mlp_layers_, options.clips),
        down_(context, {ModuleRole::kDown}, options.clips) {}

  AwqBlock run() {
    for_all([&](std::int64_t sample) { add(qkv_, samples_.attention_input(sample)); });
    search_scales(qkv_);
    for_all([&](std::int64_t sample) { add(o_, samples_.attention_out_input(sample)); });
    search_scales(o_);
    for_all([&](std::int64_t sample) { add(mlp_, samples_.mlp_input(sample)); });
    search_scales(mlp_);
    for_all([&](std::int64_t sample) { add(down_, samples_.down_input(sample)); });
    search_scales(down_);
    for (Site* site : {&qkv_, &o_, &mlp_, &down_}) fold(*site);
    for (Site* site : {&qkv_, &o_, &mlp_, &down_}) clip(*site);
    return std::move(found_);
  }

 private:
  void for_all(FunctionRef<void(std::int64_t sample)> work) const {
    for (std::int64_t sample = 0; sample < samples_.count(); ++sample) work(sample);
  }

  void add(Site& site, const float* x) { site.add(context_.compute, x, samples_.tokens()); }

  void search_scales(Site& site) {
    if (!site.group()) return;
    const AwqScaleSearch search(context_, *site.group(), site.means());
    const std::optional<Gram> gram = site.take_gram();
    found_.scales.push_back(gram ? search.search(*gram)
                                 : search.search(samples_, !options_.exhaustive));
  }

  void fold(Site& site) {
    if (!site.group()) return;
    const auto is_its = [&](const AwqScale& scale) {
      return scale.group.layers == site.group()->layers;
    };
    AwqScale& scale = *std::find_if(found_.scales.begin(), found_.scales.end(), is_its);
    scale.scales = fold_scales(context_, scale.group, std::move(scale.scales));
    if (!site.clipped().empty()) site.rows().divide(scale.scales);
  }

  void clip(Site& site) {
    for (const ModuleRole role : site.clipped()) {
      const LayerPlan& plan = plan_of(context_, role);
      const std::span<float> weights = own_floats(context_.compute, *context_.block.linear(role));
      AwqClip clip{role, group_count(plan.layout), {}};
      clip.bounds = search_bounds(context_.compute, plan.layout, weights, site.rows());
      clip_to_bounds(context_.compute, plan.layout, clip.bounds, weights);
      found_.clips.push_back(std::move(clip));
    }
  }

  const TransformContext& context_;
  const AwqOptions& options_;
  BlockSamples samples_;
  std::vector<ModuleRole> mlp_layers_;
  Site qkv_;
  Site o_;
  Site mlp_;
  Site down_;
  AwqBlock found_;
};

class AwqTransform : public Transform {
 public:
  AwqTransform(const AwqOptions& options, std::shared_ptr<AwqSearch> found)
      : options_(options), found_(std::move(found)) {}

  bool needs_samples() const override { return true; }
  void apply(const TransformContext& context) const override {
    found_->bits = context.plan.options.bits;
    found_->blocks.push_back(BlockSearch(context, options_).run());
  }

 private:
  AwqOptions options_;
  std::shared_ptr<AwqSearch> found_;
};

class AwqReplay : public Transform {
 public:
  explicit AwqReplay(std::shared_ptr<const AwqSearch> searched) : searched_(std::move(searched)) {}

  bool needs_samples() const override { return false; }
  void apply(const TransformContext& context) const override {
    if (searched_->bits != 0 && searched_->bits != context.plan.options.bits) {
      fail("{}: searched for {} bits, to be quantized to {}", searched_->origin, searched_->bits,
           context.plan.options.bits);
    }
    const AwqBlock& block = searched_->blocks[static_cast<std::size_t>(context.layer)];
    for (const AwqScale& scale : block.scales) {
      check(context, scale);
      fold_scales(context, scale.group, scale.scales);
    }
    for (const AwqClip& clip : block.clips) {
      const LayerPlan& plan = plan_of(context, clip.layer);
      if (!plan.packed) continue;
      check(plan, clip);
      clip_to_bounds(context.compute, plan.layout, clip.bounds,
                     own_floats(context.compute, *context.block.linear(clip.layer)));
    }
  }

 private:
  /// A layer that is not packed stays as the checkpoint has it.
  void check(const TransformContext& context, const AwqScale& scale) const {
    if (is_scalable(context.spec, context.plan, scale.group, context.layer)) return;
    fail("{}: \"{}\" was scaled in the search and is not to be quantized, or the layer before it",
         searched_->origin, context.spec.block_module(scale.group.layers.front(), context.layer));
  }
  void check(const LayerPlan& plan, const AwqClip& clip) const {
    const std::int64_t groups = group_count(plan.layout);
    if (clip.groups == groups) return;
    fail("{}: \"{}\" was clipped in groups of {}, to be quantized are groups of {}",
         searched_->origin, plan.linear.name, plan.linear.in / clip.groups, plan.layout.group_size);
  }

  std::shared_ptr<const AwqSearch> searched_;
};

}  // namespace

std::shared_ptr<const Transform> make_awq(const AwqOptions& options,
                                          std::shared_ptr<AwqSearch> found) {
  return std::make_shared<AwqTransform>(options, std::move(found));
}

std::shared_ptr<const Transform> make_awq(std::shared_ptr<const AwqSearch> searched) {
  return std::make_shared<AwqReplay>(std::move(searched));
}

}  // namespace nibble
