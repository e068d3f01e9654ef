#include "nibble/models/weight_mover.h"

#include <algorithm>
#include <span>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/process.h"
#include "nibble/core/stopwatch.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

// Of the time that passes take.
constexpr double kShareOfTime = 0.025;
// A mapping with less of it in huge pages is quicker to read elsewhere.
constexpr double kHugeEnough = 0.875;

bool is_in_huge_pages(const std::byte* address, const std::vector<MemoryMapping>& mappings) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto mapping =
      std::find_if(mappings.begin(), mappings.end(),
                   [&](const MemoryMapping& each) { return at >= each.begin && at < each.end; });
  return mapping != mappings.end() && mapping->huge_bytes > 0 &&
         static_cast<double>(mapping->huge_bytes) >=
             kHugeEnough * static_cast<double>(mapping->resident_bytes);
}

}  // namespace

std::int64_t WeightMover::Group::bytes() const {
  std::int64_t bytes = 0;
  for (const Weight* weight : weights) bytes += weight_bytes(weight->view);
  return bytes;
}

void WeightMover::add(std::initializer_list<Linear*> together) {
  Group& group = groups_.emplace_back();
  for (Linear* layer : together) group.weights.push_back(&layer->weight);
}

void WeightMover::allow(double pass_seconds) {
  if (!groups_.empty()) seconds_ += kShareOfTime * pass_seconds;
}

void WeightMover::move() {
  while (seconds_ > 0 && !groups_.empty()) {
    const Stopwatch stopwatch;
    step();
    seconds_ -= stopwatch.seconds();
  }
}

void WeightMover::move_all() {
  while (!groups_.empty()) step();
}

void WeightMover::step() {
  if (!planned_) {
    plan();
  } else if (!move_) {
    start(groups_.front());
  } else if (move_->advance()) {
    finish();
  }
}

/// Leaves out what gains nothing.
void WeightMover::plan() {
  planned_ = true;
  bytes_ = memory_info().available_bytes / 2;
  if (compute_.pool().nodes() > 1) return;
  if (!has_huge_pages()) return groups_.clear();
  const std::vector<MemoryMapping> mappings = memory_mappings();
  for (Group& group : groups_) {
    std::erase_if(group.weights, [&](const Weight* weight) {
      return is_in_huge_pages(static_cast<const std::byte*>(weight->view.parts[kCodesPart]),
                              mappings);
    });
  }
  std::erase_if(groups_, [](const Group& group) { return group.weights.empty(); });
}

void WeightMover::start(const Group& group) {
  const std::int64_t bytes = group.bytes();
  if (bytes > bytes_) return groups_.pop_front();
  bytes_ -= bytes;
  for (const Weight* weight : group.weights) {
    if (weight->storage.size() > 0) continue;
    for (const WeightPart& part : weight_parts(weight->view)) {
      if (part.bytes() == 0) continue;
      mapped_.emplace_back(part.data, static_cast<std::size_t>(part.bytes()));
    }
  }
  try {
    move_.emplace(compute_, group.weights, arena_);
  } catch (const Error& error) {  // of no memory: they can be read where they are
    verbose("weights stay where they are: {}", error.what());
    groups_.clear();
  }
}

void WeightMover::finish() {
  for (const auto& part : mapped_) source_.drop(part);
  mapped_.clear();
  move_.reset();
  groups_.pop_front();
}

}  // namespace nibble
