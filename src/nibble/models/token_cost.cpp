#include "nibble/models/token_cost.h"

#include "nibble/weights/dense.h"

namespace nibble {

LinearCost linear_cost(const LinearSpec& linear, const std::optional<WeightLayout>& layout,
                       DType dtype) {
  if (layout) return {linear, layout->format, static_cast<double>(weight_bytes(*layout))};
  LinearCost cost{linear, dense_format(dtype), 0};
  cost.bytes = cost.weights() * static_cast<double>(dtype_layout(dtype).bytes);
  return cost;
}

std::vector<LinearCost> linear_costs(const Checkpoint& checkpoint, DType dtype) {
  std::vector<LinearCost> costs;
  for (const LinearSpec& linear : checkpoint.spec().linears()) {
    costs.push_back(linear_cost(linear, checkpoint.layout_of(linear), dtype));
  }
  return costs;
}

TokenCost token_cost(const ModelSpec& spec, std::span<const LinearCost> linears) {
  TokenCost cost;
  for (const LinearCost& linear : linears) {
    cost.bytes += linear.bytes;
    cost.weights += linear.weights();
    cost.operations += linear.operations();
  }
  // q k and p v: 2 head_dim operations each, for every head of every layer.
  cost.attention_operations =
      4.0 * static_cast<double>(spec.n_layers) * static_cast<double>(spec.n_heads * spec.head_dim);
  cost.kv_bytes_per_position = 2 * spec.n_layers * spec.n_kv_heads * spec.head_dim * 2;
  return cost;
}

TokenCost token_cost(const Checkpoint& checkpoint, DType dtype) {
  return token_cost(checkpoint.spec(), linear_costs(checkpoint, dtype));
}

}  // namespace nibble
