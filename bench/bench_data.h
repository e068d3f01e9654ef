// Operands for the benchmarks: memory of a given size and weight matrices of random content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "nibble/weights/dense.h"
#include "nibble/weights/weight_codec.h"

namespace nibble::bench {

/// Memory at a page's start.
template <typename Element>
class Array {
 public:
  explicit Array(std::size_t size) : size_(size) {
    const std::size_t bytes = (size * sizeof(Element) + 4095) / 4096 * 4096;
    data_.reset(static_cast<Element*>(std::aligned_alloc(4096, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  Element* data() { return data_.get(); }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(Element); }

 private:
  struct Free {
    void operator()(Element* p) const { std::free(p); }
  };
  std::unique_ptr<Element[], Free> data_;
  std::size_t size_;
};

inline void fill_random(void* data, std::size_t bytes) {
  std::mt19937_64 random(1);
  auto* words = static_cast<std::uint64_t*>(data);
  for (std::size_t i = 0; i < bytes / 8; ++i) words[i] = random();
}

/// A matrix of random weights.
class Matrix {
 public:
  Matrix(WeightFormat format, std::int64_t rows, std::int64_t cols, int group_size)
      : view_{{format, rows, cols, group_size}, {}} {
    const WeightCodec& codec = codec_of(format);
    for (const PartLayout& part : codec.parts(view_)) {
      const auto block_bytes = static_cast<std::size_t>(part.block_bytes());
      const auto blocks = static_cast<std::size_t>(block_count(view_));
      Array<std::byte>& memory = parts_.emplace_back(blocks * block_bytes);
      view_.parts[parts_.size() - 1] = memory.data();
      if (codec.fill_random == nullptr) {
        fill_dense(format, memory);
        continue;
      }
      for (std::size_t block = 0; block < blocks; ++block) {
        RandomBits random(1, parts_.size(), block);
        codec.fill_random(view_, {parts_.size() - 1, kRowBlock, 0.02F}, random,
                          {memory.data() + block * block_bytes, block_bytes});
      }
    }
  }

  const WeightView& view() const { return view_; }
  /// Of all parts.
  std::size_t bytes() const { return static_cast<std::size_t>(weight_bytes(view_)); }

 private:
  static void fill_dense(WeightFormat format, Array<std::byte>& memory) {
    const DType dtype = codec_of(format).parts({format, 1, 1})[0].dtype;
    const auto width = static_cast<std::size_t>(dtype_layout(dtype).bytes);
    for (std::size_t i = 0; i < memory.size() / width; ++i) {
      const float value = static_cast<float>(i % 255) / 256.0F;
      store_as_dtype(dtype, {&value, 1}, memory.data() + i * width);
    }
  }

  WeightView view_;
  std::vector<Array<std::byte>> parts_;
};

}  // namespace nibble::bench
