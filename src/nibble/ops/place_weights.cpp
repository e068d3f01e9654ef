#include "nibble/ops/place_weights.h"

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "nibble/ops/row_claims.h"
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
  std::array<const std::byte*, kWeightParts> places{};
  for (std::size_t i = 0; i < kWeightParts; ++i) {
    places[i] = at;
    at += weight_parts(view)[i].bytes();
  }
  copy.view = with_parts_at(view, places);
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

}  // namespace

void place_weights(Compute& compute, std::span<Weight* const> together, Arena& arena) {
  std::vector<const WeightView*> views;
  std::vector<Weight> placed;
  for (const Weight* weight : together) {
    views.push_back(&weight->view);
    placed.push_back(untouched_copy(weight->view, compute.pool().nodes(), arena));
  }
  const RowClaims claims(compute, views);
  compute.pool().for_each_thread([&](int thread) {
    const auto [begin, end] = compute.pool().share(claims.count(), thread);
    for (std::int64_t index = begin; index < end; ++index) {
      claims.visit(index, [&](std::size_t matrix, const Rows& rows) {
        copy_rows(together[matrix]->view, placed[matrix].view, rows);
      });
    }
  });
  for (std::size_t i = 0; i < together.size(); ++i) *together[i] = std::move(placed[i]);
}

}  // namespace nibble
