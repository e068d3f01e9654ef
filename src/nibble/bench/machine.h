// What the machine can do at most: its memory's read bandwidth and its arithmetic peaks, measured
// with the threads that compute.
#pragma once

#include <cstddef>

#include "nibble/core/buffer.h"
#include "nibble/kernels/kernel_set.h"
#include "nibble/ops/activation_type.h"
#include "nibble/ops/compute.h"

namespace nibble {

/// Ties each thread of the pool, the calling one too, to a physical core of its own for the rest of
/// its life. Where there are more threads than cores that the process may use it changes nothing,
/// warns that figures will scatter, and gives false.
bool pin_threads(ThreadPool& pool);

/// Reads memory that lies in no cache, in huge pages where the system allows them.
class MemoryReader {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 30;

  /// Takes `bytes`, of kMostBytes and at least 64 MiB; on machines with little memory a quarter of
  /// what is to be had. `compute` must outlive this. Throws Error if there is no memory.
  explicit MemoryReader(Compute& compute, std::size_t bytes = kMostBytes);

  /// One reading of as many bytes or more with all threads: bytes a second.
  double measure();
  /// Bytes of memory this keeps resident.
  std::size_t buffer_bytes() const { return buffer_.size(); }

 private:
  void read_all();

  Compute& compute_;
  std::size_t bytes_;
  Buffer buffer_;
};

/// The most operations a second that all threads together reach with one instruction: the best of
/// several short runs.
double measure_peak(Compute& compute, const PeakKernel& peak);

/// The instruction that bounds matrix products of this weight format and these activations.
const PeakKernel& matmul_peak(const KernelSet& kernels, ActivationType activations,
                              WeightFormat format);

}  // namespace nibble
