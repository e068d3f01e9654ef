#include "nibble/quant/target_bits.h"

#include <algorithm>

#include "nibble/core/error.h"
#include "nibble/quant/forecast.h"
#include "nibble/weights/weight_view.h"

namespace nibble {
namespace {

/// From one format of a layer to another with more bits.
struct Step {
  std::size_t layer;  // in `measured`
  std::size_t from;
  std::size_t to;
  double gain;  // by how much its loss falls for a bit more
};

/// The steps of one layer, each gaining less for a bit than the one before: formats that lie above
/// the line between two others are left out.
std::vector<Step> steps_of(const LayerFormats& layer, std::size_t number) {
  std::vector<Step> steps;
  for (std::size_t to = 1; to < layer.formats.size(); ++to) {
    const auto gain = [&](std::size_t from) {
      const auto& [small, more_loss] = layer.formats[from];
      const auto& [large, less_loss] = layer.formats[to];
      return (more_loss - less_loss) /
             static_cast<double>(8 * (weight_bytes(large) - weight_bytes(small)));
    };
    std::size_t from = steps.empty() ? 0 : steps.back().to;
    while (!steps.empty() && gain(from) >= steps.back().gain) {
      from = steps.back().from;
      steps.pop_back();
    }
    steps.push_back({number, from, to, gain(from)});
  }
  return steps;
}

}  // namespace

void choose_formats(const ModelSpec& spec, const std::vector<LayerFormats>& measured, double target,
                    QuantizePlan& plan) {
  std::vector<Step> steps;
  std::vector<std::size_t> chosen(measured.size());  // format of each layer
  const auto set = [&](std::size_t number, std::size_t format) {
    plan.layers[measured[number].layer].layout = measured[number].formats[format].layout;
    chosen[number] = format;
  };
  for (std::size_t i = 0; i < measured.size(); ++i) {
    set(i, 0);
    const std::vector<Step> more = steps_of(measured[i], i);
    steps.insert(steps.end(), more.begin(), more.end());
  }
  const double least = bits_per_weight(spec, plan);
  if (least > target) {
    fail("--target-bpw {}: with the fewest bits for each layer it is {:.3f} bits a weight", target,
         least);
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.gain > b.gain; });
  for (const Step& step : steps) {
    if (step.gain <= 0 || chosen[step.layer] != step.from) continue;
    set(step.layer, step.to);
    if (bits_per_weight(spec, plan) > target) set(step.layer, step.from);
  }
}

}  // namespace nibble
