// The small model in data/, blocks of its text, and how far a quantized one is from it.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/logits.h"
#include "nibble/core/mapped_file.h"
#include "nibble/models/checkpoint.h"
#include "paths.h"
#include "quant/fixtures.h"

namespace nibble::testing {

using Ids = std::vector<std::vector<std::int32_t>>;

/// `count` blocks of a text, from block `first` on.
inline Ids story_blocks(std::size_t first, std::size_t count, std::size_t length) {
  const Checkpoint checkpoint(kStories);
  const std::vector<std::int32_t> ids =
      checkpoint.load_tokenizer().encode(read_text_file(data_file("stories.txt")));
  Ids blocks;
  for (std::size_t i = first; i < first + count; ++i) {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(i * length);
    blocks.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(length));
  }
  return blocks;
}

/// Mean KL divergence from the original model over blocks that were not calibrated on.
inline double divergence(const std::filesystem::path& out) {
  ::nibble::test::Runner reference(kStories, {});
  ::nibble::test::Runner model(out, {});
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  double sum = 0;
  std::size_t positions = 0;
  for (const std::vector<std::int32_t>& block : story_blocks(30, 8, 128)) {
    const std::vector<float> p = reference.logits(block);
    const std::vector<float> q = model.logits(block);
    for (std::size_t at = 0; at < p.size(); at += vocab, ++positions) {
      double total_p = 0;
      double total_q = 0;
      double weighted = 0;
      for (std::size_t i = at; i < at + vocab; ++i) {
        total_p += std::exp(static_cast<double>(p[i]));
        total_q += std::exp(static_cast<double>(q[i]));
        weighted += std::exp(static_cast<double>(p[i])) * (static_cast<double>(p[i]) - q[i]);
      }
      sum += weighted / total_p + std::log(total_q / total_p);
    }
  }
  return sum / static_cast<double>(positions);
}

}  // namespace nibble::testing
