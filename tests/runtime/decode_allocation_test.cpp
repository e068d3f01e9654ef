// A step of decode allocates nothing: this program counts what it asks of the heap and of the
// system.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "nibble/runtime/model.h"
#include "nibble/runtime/sampler.h"
#include "paths.h"

namespace {

std::atomic<long> allocations{0};

void* count_and_allocate(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  void* memory = nullptr;
  if (::posix_memalign(&memory, std::max(alignment, sizeof(void*)),
                       std::max<std::size_t>(bytes, 1)) != 0) {
    throw std::bad_alloc();
  }
  return memory;
}

}  // namespace

// The forms that the others of the standard library call. Not inlined, where GCC would see a new
// that ends in free().
void* operator new(std::size_t bytes) {
  return count_and_allocate(bytes, alignof(std::max_align_t));
}
// (AddressSanitizer has one of its own of this, which does not call the first.)
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return count_and_allocate(bytes, alignof(std::max_align_t));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return count_and_allocate(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

// Of nibble::Buffer.
extern "C" void* mmap(void* address, std::size_t bytes, int protection, int flags, int file,
                      off_t offset) noexcept {
  ++allocations;
  return reinterpret_cast<void*>(
      ::syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}

namespace nibble {
namespace {

using Case = std::tuple<ActivationType, KvType>;
class DecodeStep : public ::testing::TestWithParam<Case> {};

/// What `steps` steps of decode of `count` sequences at once with this sampler allocate, after a
/// few to warm up.
long allocations_of(Model& model, const SamplerOptions& options, std::size_t count, int steps) {
  const std::shared_ptr<KvPool> pool = model.make_pool(static_cast<std::int64_t>(count) * 512);
  std::vector<KvCache> caches;
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  std::vector<float> logits(count * vocab);
  std::vector<std::vector<std::int32_t>> contexts(count, {1});
  std::vector<Sampler> samplers(count, Sampler(options));
  for (std::size_t i = 0; i < count; ++i) {
    caches.push_back(model.make_cache(pool));
    contexts[i].reserve(static_cast<std::size_t>(model.spec().context));
  }
  // A thread that finds nothing left to do while we warm up would get its scratch memory later.
  constexpr std::size_t kScratch = std::size_t{4} << 20;
  model.compute().pool().for_each_thread(
      [&](int thread) { model.compute().thread_scratch(thread, kScratch); });
  std::vector<SequenceTokens> sequences(count);
  // What grows with the context: partial results of attention over more than a page.
  const std::vector<std::int32_t> long_context(300, 5);
  for (const std::span<const std::int32_t> tokens :
       {std::span(long_context), std::span(long_context).first(1)}) {
    for (std::size_t s = 0; s < count; ++s) sequences[s] = {tokens, &caches[s]};
    model.forward_last(sequences, logits.data());
  }
  for (KvCache& cache : caches) cache.truncate(0);
  long before = 0;
  model.move_weights();
  constexpr int kWarmUp = 4;
  for (int i = -kWarmUp; i < steps; ++i) {
    if (i == 0) before = allocations;
    for (std::size_t s = 0; s < count; ++s) sequences[s] = {{&contexts[s].back(), 1}, &caches[s]};
    model.forward_last(sequences, logits.data());
    for (std::size_t s = 0; s < count; ++s) {
      contexts[s].push_back(samplers[s].sample({logits.data() + s * vocab, vocab}, contexts[s]));
    }
  }
  return allocations - before;
}

// 300 steps take a second page of the KV cache.
TEST_P(DecodeStep, AllocatesNothing) {
  const auto [activations, kv] = GetParam();
  ThreadPool pool(2);
  Model model(testing::data_file("stories260K"), pool, {.activations = activations, .kv = kv});
  for (const std::size_t count : {1, 8}) {
    EXPECT_EQ(allocations_of(model, {.temperature = 0}, count, 300), 0);
    EXPECT_EQ(allocations_of(model, {.temperature = 1, .top_k = 40, .top_p = 0.9}, count, 100), 0);
    EXPECT_EQ(allocations_of(model, {.temperature = 0, .repeat_penalty = 1.1}, count, 100), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Options, DecodeStep,
                         ::testing::Values(Case{ActivationType::kBF16, KvType::kBF16},
                                           Case{ActivationType::kF32, KvType::kF32},
                                           Case{ActivationType::kInt8, KvType::kInt8}));

TEST(AllocationCounter, CountsTheHeapAndBuffers) {
  const long before = allocations;
  const std::vector<int> some(100);
  EXPECT_EQ(allocations, before + 1);
  const Buffer buffer(100);
  EXPECT_EQ(allocations, before + 2);
}

}  // namespace
}  // namespace nibble
