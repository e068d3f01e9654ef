#include "nibble/quant/rounders/per_group_rounder.h"

#include "nibble/quant/per_group.h"
#include "nibble/quant/rounders/rounder.h"

namespace nibble {
namespace {

class PerGroupRows : public RowRounder {
 public:
  void round(Compute&, int, std::span<const float> weights, IntegerRows& rows) const override {
    round_per_group(weights, rows);
  }
};

class PerGroupRounder : public Rounder {
 public:
  InputNeeds needs() const override { return InputNeeds::kNothing; }
  std::unique_ptr<RowRounder> prepare(Compute&, InputStatistics) const override {
    return std::make_unique<PerGroupRows>();
  }
};

}  // namespace

void round_per_group(std::span<const float> weights, IntegerRows& rows) {
  const auto size = static_cast<std::size_t>(rows.group_size);
  RoundingError ignored;
  for (std::size_t at = 0; at < weights.size(); at += size) {
    const GroupParameters parameters = round_group(weights.subspan(at, size), rows.bits,
                                                   std::span(rows.q).subspan(at, size), ignored);
    rows.scales[at / size] = to_float(parameters.scale);
    rows.zeros[at / size] = parameters.zero;
  }
}

std::unique_ptr<Rounder> make_per_group_rounder() {
  return std::make_unique<PerGroupRounder>();
}

}  // namespace nibble
