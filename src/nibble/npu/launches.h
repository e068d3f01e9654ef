// How the driver cuts matrix products into launches: the activations' rows into blocks that a
// kernel takes, the weights into tiles that it was built for, the edges filled up with zeros. Each
// pair of a block and a tile is one launch. (AMD's RyzenAI-SW, ops/cpp/qlinear_2, and the names of
// its kernels.)
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/npu/device.h"

namespace nibble::npu {

/// One matrix product of a pass: (m, depth) . (depth, cols), all of the pass's rows.
struct Product {
  std::int64_t depth;
  std::int64_t cols;
  int group_size;  // of w4abf16
  bool is_head;
};

/// The products of a pass that the NPU does, in their order.
std::vector<Product> npu_products(const ModelShape& shape, const Recipe& recipe);

struct Tile {
  std::int64_t depth;
  std::int64_t cols;
};

/// The tile that a product's weights are cut into.
Tile tile_of(const Product& product, const Recipe& recipe);
/// How many of them, edges included.
std::int64_t tile_count(const Product& product, const Tile& tile);

/// The rows of the kernels that m rows of activations are given to: as many of the largest as are
/// full, then the smallest that holds the rest.
std::vector<std::int64_t> row_blocks(std::int64_t m, const Recipe& recipe);

/// What a pass of m rows launches.
struct LaunchCount {
  std::int64_t launches = 0;  // of the decoder blocks
  std::int64_t head_launches = 0;
  std::int64_t weights = 0;         // of the blocks: parameters
  std::int64_t padded_weights = 0;  // those of their tiles
  double operations = 0;            // 2 a multiply-add; here and below with the head's
  double padded_operations = 0;
  double padded_bytes = 0;  // of weights, with scales and zero points, each time they are read
};
LaunchCount count_launches(const ModelShape& shape, const Recipe& recipe, std::int64_t m);

/// Bytes of one weight of a tile: half a byte, a bfloat16 scale and half a byte of zero point a
/// group; or one byte.
double bytes_per_weight(Precision precision, int group_size);

}  // namespace nibble::npu
