#include "quality_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "table.h"

namespace nibble::cli {
namespace {

constexpr std::size_t kTensorsShown = 10;

std::vector<const WrittenTensor*> by_error(const QuantizeReport& report) {
  std::vector<const WrittenTensor*> tensors;
  for (const WrittenTensor& tensor : report.tensors) tensors.push_back(&tensor);
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto* a, const auto* b) {
    return a->error.relative() > b->error.relative();
  });
  return tensors;
}

/// A number of each text that was looked at.
Json of_texts(const Quality& quality, double TextQuality::*number) {
  Json json = Json::object();
  if (quality.held_out.tokens > 0) json["held_out"] = quality.held_out.*number;
  if (quality.trained.tokens > 0) json["calibrated_on"] = quality.trained.*number;
  return json;
}

void print_divergence(const char* name, const TextQuality& text) {
  if (text.tokens == 0) return;
  fmt::print("  {:<14}  KL divergence {:.4f}, the same likeliest token {:.1f} % ({} tokens)\n",
             name, text.kl_divergence, 100 * text.top1_agreement, text.tokens);
}

}  // namespace

QualityTexts quality_texts(const std::vector<std::vector<std::int32_t>>& calibration,
                           const std::vector<std::vector<std::int32_t>>& longer) {
  QualityTexts texts;
  const std::ptrdiff_t count = std::min<std::ptrdiff_t>(kHeldOutBlocks, std::ssize(calibration));
  texts.trained.assign(calibration.begin(), calibration.begin() + count);
  for (const std::vector<std::int32_t>& block : longer) {
    const bool is_new =
        std::find(calibration.begin(), calibration.end(), block) == calibration.end();
    if (is_new && std::ssize(texts.held_out) < kHeldOutBlocks) texts.held_out.push_back(block);
  }
  return texts;
}

Json quality_json(const QuantizeReport& report, const Quality& quality) {
  Json tensors = Json::array();
  for (const WrittenTensor* tensor : by_error(report)) {
    tensors.push_back({{"name", tensor->name},
                       {"format", tensor->format},
                       {"group_size", tensor->group_size},
                       {"rel_error", tensor->error.relative()},
                       {"clipped_groups", tensor->error.clipped_groups}});
  }
  return {{"kl_divergence", of_texts(quality, &TextQuality::kl_divergence)},
          {"top1_agreement", of_texts(quality, &TextQuality::top1_agreement)},
          {"tokens", quality.held_out.tokens + quality.trained.tokens},
          {"block_errors", quality.block_errors},
          {"tensors", std::move(tensors)}};
}

void print_quality(const QuantizeReport& report, const Quality& quality) {
  print_divergence("held-out text", quality.held_out);
  print_divergence("calibrated on", quality.trained);
  if (!quality.block_errors.empty()) {
    fmt::print("  states          {:.4f} off behind the last block\n", quality.block_errors.back());
  }
  const std::vector<const WrittenTensor*> worst = by_error(report);
  if (worst.empty()) return;
  Table table({{"tensors changed most", "name", TableColumn::Align::kLeft},
               {.title = "format", .key = "format"},
               {.title = "relative error", .key = "rel_error"}},
              2);
  for (std::size_t i = 0; i < std::min(kTensorsShown, worst.size()); ++i) {
    const std::string groups =
        worst[i]->group_size > 0 ? fmt::format(" g{}", worst[i]->group_size) : "";
    table.add_row({worst[i]->name, worst[i]->format + groups, {worst[i]->error.relative(), 4}});
  }
  fmt::print("{}", table.text());
}

}  // namespace nibble::cli
