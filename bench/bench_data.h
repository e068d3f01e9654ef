// Operands for the benchmarks: memory of a given size and weight matrices of random content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>

#include "nibble/weights/int8_per_channel.h"
#include "nibble/weights/packed_group.h"

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

/// A matrix of random codes, or of small random numbers.
class Matrix {
 public:
  Matrix(WeightFormat format, std::int64_t rows, std::int64_t cols, int group_size)
      : data_(0), scales_(0), zeros_(0), row_scales_(0) {
    view_ = {format, rows, cols, nullptr, group_size, nullptr, nullptr};
    if (group_size > 0) {
      make_packed();
    } else if (format == WeightFormat::kW8) {
      make_int8();
    } else {
      make_dense();
    }
    view_.data = data_.data();
  }

  const WeightView& view() const { return view_; }
  /// Of the integers, scales and zero points.
  std::size_t bytes() const {
    return data_.bytes() + scales_.bytes() + zeros_.bytes() + row_scales_.bytes();
  }

 private:
  void make_packed() {
    const PackedGroup layout = packed_group_of(view_);
    data_ = Array<std::byte>(static_cast<std::size_t>(layout.code_bytes()));
    scales_ = Array<BFloat16>(static_cast<std::size_t>(layout.scale_bytes() / 2));
    zeros_ = Array<std::uint8_t>(static_cast<std::size_t>(layout.zero_bytes()));
    fill_random(data_.data(), data_.bytes());
    fill_random(zeros_.data(), zeros_.bytes());
    for (std::size_t i = 0; i < scales_.size(); ++i) scales_.data()[i] = to_bfloat16(0.01F);
    view_.scales = scales_.data();
    view_.zeros = zeros_.data();
  }

  void make_int8() {
    const Int8PerChannel layout = int8_per_channel_of(view_);
    data_ = Array<std::byte>(static_cast<std::size_t>(layout.code_bytes()));
    row_scales_ = Array<float>(static_cast<std::size_t>(layout.scale_bytes() / 4));
    fill_random(data_.data(), data_.bytes());
    for (std::size_t i = 0; i < row_scales_.size(); ++i) row_scales_.data()[i] = 0.01F;
    view_.row_scales = row_scales_.data();
  }

  void make_dense() {
    const auto count = static_cast<std::size_t>(view_.rows * view_.cols);
    const std::size_t width = view_.format == WeightFormat::kF32 ? 4 : 2;
    data_ = Array<std::byte>(count * width);
    for (std::size_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(i % 255) / 256.0F;
      if (view_.format == WeightFormat::kF32) {
        reinterpret_cast<float*>(data_.data())[i] = value;
      } else if (view_.format == WeightFormat::kF16) {
        reinterpret_cast<Float16*>(data_.data())[i] = to_float16(value);
      } else {
        reinterpret_cast<BFloat16*>(data_.data())[i] = to_bfloat16(value);
      }
    }
  }

  WeightView view_;
  Array<std::byte> data_;
  Array<BFloat16> scales_;
  Array<std::uint8_t> zeros_;
  Array<float> row_scales_;
};

}  // namespace nibble::bench
