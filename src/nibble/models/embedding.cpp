#include "nibble/models/embedding.h"

#include <cassert>

#include "nibble/weights/dense.h"

namespace nibble {

Embedding::Embedding(const WeightLoader& loader) : spec_(loader.spec()), dtype_(loader.dtype()) {
  const Checkpoint& checkpoint = loader.checkpoint();
  tokens_ =
      checkpoint.float_tensor(spec_.embedding + ".weight", {spec_.vocab, spec_.embedding_width});
  if (const auto& positions = spec_.positions) {
    positions_ =
        checkpoint.float_tensor(positions->name + ".weight", {positions->rows, spec_.hidden});
  }
  scale_ = spec_.embedding_scale;
  round_to_dtype(dtype_, {&scale_, 1});
  if (spec_.project_in) project_in_ = loader.linear(*spec_.project_in);
}

void Embedding::run(Compute& compute, std::span<const std::int32_t> tokens,
                    std::span<const std::int64_t> positions, float* out) {
  assert(tokens.size() == positions.size());
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (project_in_) {
    const auto width = static_cast<std::size_t>(spec_.embedding_width);
    float* narrow = narrow_.as<float>(tokens.size() * width);
    look_up(compute, tokens, narrow);
    apply_linear(compute, *project_in_, {.x = narrow, .tokens = count}, out);
  } else {
    look_up(compute, tokens, out);
  }
  if (spec_.positions) add_positions(compute, positions, out);
}

void Embedding::look_up(Compute& compute, std::span<const std::int32_t> tokens, float* out) const {
  const auto width = static_cast<std::size_t>(spec_.embedding_width);
  const auto one = [&](std::int64_t t, int) {
    const auto at = static_cast<std::size_t>(t);
    look_up_row(tokens[at], {out + at * width, width});
  };
  // A row that is packed takes as long to read as the sixteen of its block.
  if (tokens_.rows && tokens.size() > 1) {
    compute.pool().parallel_for(std::ssize(tokens), one);
  } else {
    for (std::int64_t t = 0; t < std::ssize(tokens); ++t) one(t, 0);
  }
}

void Embedding::look_up_row(std::int32_t token, std::span<float> row) const {
  assert(token >= 0 && token < spec_.vocab);
  read_rows(tokens_, token, 1, row.data());
  round_to_dtype(dtype_, row);
  if (scale_ == 1.0f) return;
  for (float& value : row) value *= scale_;
}

void Embedding::add_positions(Compute& compute, std::span<const std::int64_t> positions,
                              float* out) {
  const auto width = static_cast<std::size_t>(spec_.hidden);
  float* row = position_row_.as<float>(width);
  for (const std::int64_t position : positions) {
    const std::int64_t at = position + spec_.positions->offset;
    assert(at < spec_.positions->rows);
    read_rows(positions_, at, 1, row);
    round_to_dtype(dtype_, {row, width});
    compute.kernels().add(out, row, spec_.hidden);
    out += spec_.hidden;
  }
}

}  // namespace nibble
