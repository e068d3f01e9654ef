// What every operator needs: the kernels, the threads and some scratch memory.
#pragma once

#include <cstddef>
#include <vector>

#include "nibble/core/buffer.h"
#include "nibble/core/thread_pool.h"
#include "nibble/kernels/kernel_set.h"

namespace nibble {

/// How the inputs of linear layers are rounded before they are multiplied (docs/numerics.md). kInt8
/// is for integer weights; those that are floats get bfloat16 then, and so does the head.
enum class ActivationType { kBF16, kF32, kInt8 };

/// What is taken in place of `type` where int8 is too coarse.
constexpr ActivationType without_int8(ActivationType type) {
  return type == ActivationType::kInt8 ? ActivationType::kBF16 : type;
}

/// "bf16", "f32" or "int8".
const char* activation_type_name(ActivationType type);

class InputObserver;
class Profiler;

class Compute {
 public:
  /// `threads` 0: one a usable physical core.
  Compute(const KernelSet& kernels, int threads, ActivationType activations = ActivationType::kBF16,
          Topology topology = usable_topology());

  const KernelSet& kernels() const { return *kernels_; }
  ThreadPool& pool() { return pool_; }
  ActivationType activations() const { return activations_; }
  /// Who is told of every operator (ops/profiler.h); none by default. It must outlive its use here.
  Profiler* profiler() const { return profiler_; }
  void set_profiler(Profiler* profiler) { profiler_ = profiler; }
  /// Who sees the inputs of linear layers (ops/input_observer.h); likewise.
  InputObserver* input_observer() const { return input_observer_; }
  void set_input_observer(InputObserver* observer) { input_observer_ = observer; }

  /// Scratch of one thread, at least `bytes` long, aligned to 64 bytes; valid until its next call.
  std::byte* thread_scratch(int thread, std::size_t bytes) {
    return thread_scratch_[static_cast<std::size_t>(thread)].as<std::byte>(bytes);
  }

  /// Buffers that matmul() prepares its input in (ops/prepared_input.cpp).
  struct InputBuffers {
    Buffer normed;
    Buffer bf16;
    Buffer f32;
    Buffer sums[3];  // by group size: 32, 64, 128
    struct Int8 {
      Buffer codes;
      Buffer scales;
      Buffer sums;
    };
    Int8 int8[kWeightFormats][3];  // by format, and by group size as above
  };
  InputBuffers& input_buffers() { return input_buffers_; }
  /// Partial results of attention() over a long cache (ops/attention.cpp).
  Buffer& attention_partials() { return attention_partials_; }
  /// The input of a layer that takes it in another order (ops/input_order.cpp).
  Buffer& reordered_input() { return reordered_input_; }
  /// The normalized input that an observer sees (ops/matmul.cpp).
  Buffer& observed_input() { return observed_input_; }

 private:
  const KernelSet* kernels_;
  ThreadPool pool_;
  ActivationType activations_;
  Profiler* profiler_ = nullptr;
  InputObserver* input_observer_ = nullptr;
  std::vector<Buffer> thread_scratch_;
  InputBuffers input_buffers_;
  Buffer attention_partials_;
  Buffer reordered_input_;
  Buffer observed_input_;
};

}  // namespace nibble
