#include "nibble/npu/launches.h"

#include <algorithm>
#include <span>

namespace nibble::npu {
namespace {

std::int64_t parts(std::int64_t whole, std::int64_t part) {
  return (whole + part - 1) / part;
}

std::span<const std::int64_t> kernel_rows(const Recipe& recipe) {
  static constexpr std::int64_t kW4[] = {1, 8, 32};
  static constexpr std::int64_t kW8A8[] = {1, 8, 16, 32, 64};
  static constexpr std::int64_t kW8A16[] = {1, 8, 16, 32};
  static constexpr std::int64_t k32Tiles[] = {1, 128, 256, 512, 1024, 2048};
  if (recipe.stack != Stack::kEager) return k32Tiles;
  if (recipe.precision == Precision::kW4ABF16) return kW4;
  return recipe.precision == Precision::kW8A8 ? std::span<const std::int64_t>(kW8A8)
                                              : std::span<const std::int64_t>(kW8A16);
}

Tile w4_tile(const Product& product, Stack stack) {
  if (product.depth > 4096) return {11008, 4096};
  if (product.cols <= 4096) return {4096, 4096};
  if (stack != Stack::kEager && product.cols <= 11008) return {4096, 11008};
  return {4096, product.cols <= 12288 ? 12288 : 32768};
}

Tile w8a8_tile(const Product& product) {
  constexpr std::int64_t kSmall = 2048;
  constexpr std::int64_t kLarge = 8192;
  const bool deep = product.depth > kSmall;
  const bool wide = product.cols > kSmall;
  if (deep == wide) return {kSmall, kSmall};  // large tiles only where one side is small
  return deep ? Tile{kLarge, kSmall} : Tile{kSmall, kLarge};
}

Tile w8a16_tile(const Product& product) {
  if (product.cols > 4096) return {4096, 11008};
  return {product.depth > 4096 ? 11264 : 4096, 4096};
}

}  // namespace

std::vector<Product> npu_products(const ModelShape& shape, const Recipe& recipe) {
  const std::int64_t q = shape.heads * shape.head_dim;
  const std::int64_t kv = shape.kv_heads * shape.head_dim;
  const int group = recipe.group_size;
  std::vector<Product> block;
  if (recipe.flash_attention_plus) {
    block.push_back({shape.hidden, q + 2 * kv, group, false});
  } else {
    for (const std::int64_t cols : {q, kv, kv}) block.push_back({shape.hidden, cols, group, false});
  }
  block.push_back({q, shape.hidden, group, false});
  for (int i = 0; i < (shape.gated ? 2 : 1); ++i) {
    block.push_back({shape.hidden, shape.intermediate, group, false});
  }
  block.push_back({shape.intermediate, shape.hidden, group, false});
  std::vector<Product> all;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    all.insert(all.end(), block.begin(), block.end());
  }
  if (recipe.head_on_npu) {
    all.push_back({shape.hidden, shape.vocab, recipe.head_group_size, true});
  }
  return all;
}

Tile tile_of(const Product& product, const Recipe& recipe) {
  switch (recipe.precision) {
    case Precision::kW4ABF16:
      return w4_tile(product, recipe.stack);
    case Precision::kW8A8:
      return w8a8_tile(product);
    case Precision::kW8A16:
      break;
  }
  return w8a16_tile(product);
}

std::int64_t tile_count(const Product& product, const Tile& tile) {
  return parts(product.depth, tile.depth) * parts(product.cols, tile.cols);
}

std::vector<std::int64_t> row_blocks(std::int64_t m, const Recipe& recipe) {
  const std::span<const std::int64_t> rows = kernel_rows(recipe);
  const std::int64_t most = rows.back();
  std::vector<std::int64_t> blocks(static_cast<std::size_t>(m / most), most);
  const std::int64_t rest = m % most;
  if (rest > 0) blocks.push_back(*std::lower_bound(rows.begin(), rows.end(), rest));
  return blocks;
}

double bytes_per_weight(Precision precision, int group_size) {
  return precision == Precision::kW4ABF16 ? 0.5 + 2.5 / group_size : 1.0;
}

LaunchCount count_launches(const ModelShape& shape, const Recipe& recipe, std::int64_t m) {
  const std::vector<std::int64_t> blocks = row_blocks(m, recipe);
  LaunchCount count;
  for (const Product& product : npu_products(shape, recipe)) {
    const Tile tile = tile_of(product, recipe);
    const std::int64_t tiles = tile_count(product, tile);
    const std::int64_t launches = tiles * static_cast<std::int64_t>(blocks.size());
    (product.is_head ? count.head_launches : count.launches) += launches;
    const std::int64_t padded = tiles * tile.depth * tile.cols;
    if (!product.is_head) {
      count.weights += product.depth * product.cols;
      count.padded_weights += padded;
    }
    count.operations += 2.0 * static_cast<double>(m * product.depth * product.cols);
    for (const std::int64_t rows : blocks) {
      count.padded_operations += 2.0 * static_cast<double>(rows * padded);
      count.padded_bytes +=
          bytes_per_weight(recipe.precision, product.group_size) * static_cast<double>(padded);
    }
  }
  return count;
}

}  // namespace nibble::npu
