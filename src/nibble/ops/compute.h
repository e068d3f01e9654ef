// What every operator needs: the kernels, the threads and some scratch memory.
#pragma once

#include <cstddef>
#include <vector>

#include "nibble/core/buffer.h"
#include "nibble/core/thread_pool.h"
#include "nibble/kernels/kernel_set.h"
#include "nibble/ops/fusion.h"

namespace nibble {

/// Linear layers that share an input, at the most.
inline constexpr std::size_t kMaxMatmulCalls = 8;

class InputObserver;
class LinearDevice;
class Profiler;

class Compute {
 public:
  /// `pool` may be that of others too, and must outlive this.
  Compute(const KernelSet& kernels, ThreadPool& pool);

  const KernelSet& kernels() const { return *kernels_; }
  ThreadPool& pool() { return *pool_; }
  /// Who is told of every operator (ops/profiler.h); none by default. It must outlive its use here.
  Profiler* profiler() const { return profiler_; }
  void set_profiler(Profiler* profiler) { profiler_ = profiler; }
  /// What computes linear layers (ops/linear_device.h): the CPU's kernels, or what is set here,
  /// which must outlive its use.
  LinearDevice& device() const { return *device_; }
  void set_device(LinearDevice& device) { device_ = &device; }
  /// Which steps of attention run as one; of linear layers the device decides.
  const FusionSet& fusion() const { return fusion_; }
  void set_fusion(const FusionSet& fusion) { fusion_ = fusion; }
  /// Who sees the inputs of linear layers (ops/input_observer.h); likewise.
  InputObserver* input_observer() const { return input_observer_; }
  void set_input_observer(InputObserver* observer) { input_observer_ = observer; }

  /// Scratch of one thread, at least `bytes` long, aligned to 64 bytes; valid until its next call.
  std::byte* thread_scratch(int thread, std::size_t bytes) {
    return thread_scratch_[static_cast<std::size_t>(thread)].as<std::byte>(bytes);
  }

  /// Buffers that the CPU's device prepares its input in (ops/prepared_input.cpp).
  struct InputBuffers {
    Buffer normed;
    Buffer bf16;
    Buffer f32;
    Buffer sums[kMaxMatmulCalls];
    Buffer row_scales;
    struct Int8 {
      Buffer codes;
      Buffer scales;
      Buffer sums;
    };
    Int8 int8[kMaxMatmulCalls];
  };
  InputBuffers& input_buffers() { return input_buffers_; }
  /// Partial results of attention() over a long cache (ops/attention.cpp).
  Buffer& attention_partials() { return attention_partials_; }
  /// How attention() cuts the work.
  Buffer& attention_work() { return attention_work_; }
  /// The input of a layer that takes it in another order (ops/input_rows.cpp).
  Buffer& reordered_input() { return reordered_input_; }
  /// The normalized input that an observer sees (ops/matmul.cpp).
  Buffer& observed_input() { return observed_input_; }

 private:
  const KernelSet* kernels_;
  ThreadPool* pool_;
  LinearDevice* device_;
  FusionSet fusion_ = FusionSet::all();
  Profiler* profiler_ = nullptr;
  InputObserver* input_observer_ = nullptr;
  std::vector<Buffer> thread_scratch_;
  InputBuffers input_buffers_;
  Buffer attention_partials_;
  Buffer attention_work_;
  Buffer reordered_input_;
  Buffer observed_input_;
};

}  // namespace nibble
