#include "nibble/quant/rounders/per_group_rounder.h"

#include "nibble/quant/per_channel.h"
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
    const std::span<const float> from = weights.subspan(at, size);
    const std::span<std::uint8_t> q = std::span(rows.q).subspan(at, size);
    if (!rows.has_groups) {
      rows.scales[at / size] = round_row(from, q, ignored, rows.largest);
      rows.zeros[at / size] = kMiddleOf8Bits;
      continue;
    }
    const GroupParameters parameters = round_group(from, rows.bits, q, ignored);
    rows.scales[at / size] = to_float(parameters.scale);
    rows.zeros[at / size] = parameters.zero;
  }
}

std::unique_ptr<Rounder> make_per_group_rounder() {
  return std::make_unique<PerGroupRounder>();
}

}  // namespace nibble
