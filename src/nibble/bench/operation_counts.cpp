#include "nibble/bench/operation_counts.h"

#include <algorithm>

namespace nibble {
namespace {

/// "q_proj" of "model.layers.0.self_attn.q_proj".
std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

/// Positions that the tokens see, all together.
double positions_seen(std::int64_t window, std::int64_t start, std::int64_t tokens) {
  double seen = 0;
  for (std::int64_t position = start; position < start + tokens; ++position) {
    seen += static_cast<double>(window > 0 ? std::min(window, position + 1) : position + 1);
  }
  return seen;
}

}  // namespace

std::vector<ProductShape> product_shapes(const ModelSpec& spec, std::int64_t tokens) {
  std::vector<ProductShape> shapes;
  for (const LinearSpec& linear : spec.linears()) {
    const std::int64_t m = linear.name == spec.head.name ? 1 : tokens;
    const auto same = std::find_if(shapes.begin(), shapes.end(), [&](const ProductShape& shape) {
      return shape.m == m && shape.k == linear.in && shape.n == linear.out;
    });
    ProductShape& shape =
        same != shapes.end() ? *same : shapes.emplace_back(ProductShape{m, linear.in, linear.out});
    ++shape.count;
    const std::string module = last_part(linear.name);
    if (std::find(shape.modules.begin(), shape.modules.end(), module) == shape.modules.end()) {
      shape.modules.push_back(module);
    }
  }
  return shapes;
}

OperationCount count_operations(const ModelSpec& spec, std::int64_t start, std::int64_t tokens) {
  OperationCount count;
  for (const ProductShape& shape : product_shapes(spec, tokens)) {
    count.linear += 2.0 * static_cast<double>(shape.count) * static_cast<double>(shape.m) *
                    static_cast<double>(shape.k) * static_cast<double>(shape.n);
  }
  // q k and p v: 2 head_dim operations each, for every head.
  const double of_a_position = 4.0 * static_cast<double>(spec.n_heads * spec.head_dim);
  for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
    count.attention += of_a_position * positions_seen(spec.window(layer), start, tokens);
  }
  return count;
}

}  // namespace nibble
