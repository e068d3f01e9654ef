#include "nibble/ops/weight_move.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

// A huge page across the border of two shares goes to one node as a whole: no matter where a node's
// share is several of them.
constexpr std::int64_t kMinHugeShare = 4 * static_cast<std::int64_t>(kHugePageBytes);

/// The same weight in new memory that nobody has touched yet.
Weight untouched_copy(const WeightView& view, int nodes, Arena& arena) {
  const std::int64_t bytes = weight_bytes(view);
  Weight copy;
  const std::byte* at = nullptr;
  if (nodes > 1) {
    copy.storage =
        Buffer(static_cast<std::size_t>(bytes),
               bytes / nodes >= kMinHugeShare ? Buffer::Pages::kHuge : Buffer::Pages::kSmall);
    at = copy.storage.data();
  } else {
    at = arena.take(static_cast<std::size_t>(bytes));
  }
  std::array<const std::byte*, kWeightParts> parts{};
  for (std::size_t i = 0; i < kWeightParts; ++i) {
    parts[i] = at;
    at += weight_parts(view)[i].bytes();
  }
  copy.view = with_parts_at(view, parts);
  return copy;
}

/// `rows` begin with a block and end with one, or with the matrix.
void copy_rows(const WeightView& from, const WeightView& to, const Rows& rows) {
  const WeightParts sources = weight_parts(from);
  const WeightParts targets = weight_parts(to);
  for (std::size_t i = 0; i < kWeightParts; ++i) {
    const WeightPart& part = sources[i];
    if (part.bytes() == 0) continue;
    const std::int64_t begin = rows.begin / part.block_rows * part.block_bytes;
    const std::int64_t end = (rows.end + part.block_rows - 1) / part.block_rows * part.block_bytes;
    std::memcpy(const_cast<std::byte*>(targets[i].data) + begin, part.data + begin,
                static_cast<std::size_t>(end - begin));
  }
}

std::vector<Weight> untouched_copies(std::span<Weight* const> weights, int nodes, Arena& arena) {
  std::vector<Weight> copies;
  for (const Weight* weight : weights) copies.push_back(untouched_copy(weight->view, nodes, arena));
  return copies;
}

RowClaims claims_on(Compute& compute, std::span<Weight* const> weights) {
  std::vector<const WeightView*> views;
  for (const Weight* weight : weights) views.push_back(&weight->view);
  return {compute, views};
}

}  // namespace

WeightMove::WeightMove(Compute& compute, std::span<Weight* const> together, Arena& arena)
    : pool_(compute.pool()),
      from_(together.begin(), together.end()),
      to_(untouched_copies(together, pool_.nodes(), arena)),
      claims_(claims_on(compute, together)) {}

bool WeightMove::advance() {
  pool_.for_each_thread([&](int thread) {
    const auto [begin, end] = pool_.share(claims_.count(), thread);
    if (begin + copied_ >= end) return;
    claims_.visit(begin + copied_, [&](std::size_t matrix, const Rows& rows) {
      copy_rows(from_[matrix]->view, to_[matrix].view, rows);
    });
  });
  ++copied_;
  // Shares differ by one claim at the most.
  if (copied_ * pool_.size() < claims_.count()) return false;
  for (std::size_t i = 0; i < from_.size(); ++i) *from_[i] = std::move(to_[i]);
  return true;
}

}  // namespace nibble
