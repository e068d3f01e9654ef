#include "nibble/models/embedding.h"

#include <cassert>

namespace nibble {

Embedding::Embedding(const WeightLoader& loader) : spec_(loader.spec()), dtype_(loader.dtype()) {
  const std::vector<ParameterSpec> tables = spec_.embeddings();
  tokens_ = loader.checkpoint().float_tensor(tables[0].name, tables[0].shape);
  if (spec_.positions) {
    positions_ = loader.checkpoint().float_tensor(tables[1].name, tables[1].shape);
  }
  scale_ = spec_.embedding_scale;
  round_to_dtype(dtype_, {&scale_, 1});
  if (spec_.project_in) project_in_ = loader.linear(*spec_.project_in);
}

void Embedding::run(Compute& compute, std::span<const std::int32_t> tokens, std::int64_t start,
                    float* out) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (project_in_) {
    const auto width = static_cast<std::size_t>(spec_.embedding_width);
    float* narrow = narrow_.as<float>(tokens.size() * width);
    look_up(tokens, narrow);
    apply_linear(compute, *project_in_, {.x = narrow, .tokens = count}, out);
  } else {
    look_up(tokens, out);
  }
  if (spec_.positions) add_positions(compute, start, count, out);
}

void Embedding::look_up(std::span<const std::int32_t> tokens, float* out) const {
  const auto width = static_cast<std::size_t>(spec_.embedding_width);
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    assert(tokens[t] >= 0 && tokens[t] < spec_.vocab);
    const std::span row(out + t * width, width);
    read_rows(tokens_, tokens[t], 1, row.data());
    round_to_dtype(dtype_, row);
    if (scale_ == 1.0f) continue;
    for (float& value : row) value *= scale_;
  }
}

void Embedding::add_positions(Compute& compute, std::int64_t start, std::int64_t tokens,
                              float* out) {
  const std::int64_t first = start + spec_.positions->offset;
  assert(first + tokens <= spec_.positions->rows);
  const auto elements = static_cast<std::size_t>(tokens * spec_.hidden);
  float* rows = position_rows_.as<float>(elements);
  read_rows(positions_, first, tokens, rows);
  round_to_dtype(dtype_, {rows, elements});
  compute.kernels().add(out, rows, tokens * spec_.hidden);
}

}  // namespace nibble
