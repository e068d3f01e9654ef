#include "nibble/quant/calibration/activations.h"

#include <cstring>

#include "nibble/ops/rowwise.h"

namespace nibble {

std::optional<ScratchFile> ActivationSpace::take(std::int64_t bytes) {
  if (!memory_bytes_) return std::nullopt;
  if (bytes > *memory_bytes_) return ScratchFile(folder_, static_cast<std::uint64_t>(bytes));
  *memory_bytes_ -= bytes;
  return std::nullopt;
}

Activations::Activations(const ActivationShape& shape, ActivationSpace& space)
    : shape_(shape),
      file_(space.take(shape.bytes())),
      memory_(static_cast<std::size_t>(file_ ? shape.sample_bytes() : shape.bytes())) {}

std::byte* Activations::place_of(std::int64_t sample) {
  return memory_.data() + (file_ ? 0 : sample * shape_.sample_bytes());
}

void Activations::load(Compute& compute, std::int64_t sample, float* out) {
  const std::byte* from = place_of(sample);
  const std::int64_t bytes = shape_.sample_bytes();
  if (file_) {
    file_->read_at(static_cast<std::uint64_t>(sample * bytes),
                   {memory_.data(), static_cast<std::size_t>(bytes)});
  }
  const std::int64_t width = shape_.width;
  for_each_row(compute, shape_.tokens, [&](std::int64_t t) {
    float* row = out + t * width;
    if (shape_.is_exact) {
      std::memcpy(row, from + t * width * 4, static_cast<std::size_t>(width) * 4);
      return;
    }
    const auto* values = reinterpret_cast<const BFloat16*>(from) + t * width;
    for (std::int64_t i = 0; i < width; ++i) row[i] = to_float(values[i]);
  });
}

void Activations::store(Compute& compute, std::int64_t sample, const float* values) {
  std::byte* to = place_of(sample);
  const std::int64_t width = shape_.width;
  for_each_row(compute, shape_.tokens, [&](std::int64_t t) {
    const float* row = values + t * width;
    if (shape_.is_exact) {
      std::memcpy(to + t * width * 4, row, static_cast<std::size_t>(width) * 4);
    } else {
      compute.kernels().to_bf16(row, width, reinterpret_cast<BFloat16*>(to) + t * width);
    }
  });
  if (!file_) return;
  const std::int64_t bytes = shape_.sample_bytes();
  file_->write_at(static_cast<std::uint64_t>(sample * bytes),
                  {to, static_cast<std::size_t>(bytes)});
}

}  // namespace nibble
