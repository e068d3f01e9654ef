// What says that it reads headers only may not touch a weight: their pages are made unreadable, so
// that whoever touches one dies.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/tiny_model.h"
#include "models/architecture_configs.h"
#include "nibble/bench/speed.h"
#include "nibble/convert/export.h"
#include "nibble/kernels/select.h"
#include "nibble/models/inspection.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::make_tiny_model;
using testing::TemporaryFolder;
using testing::tiny_config;

/// Wide enough for every matrix to have pages of its own.
Json wide_config() {
  Json config = tiny_config();
  config.update({{"hidden_size", 256}, {"intermediate_size", 512}, {"vocab_size", 403}});
  return config;
}

/// Makes the pages that hold nothing but this tensor unreadable; gives how many.
std::size_t hide(const TensorView& view) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(view.data);
  const std::uintptr_t begin = (first + page - 1) / page * page;
  const std::uintptr_t end = (first + view.bytes) / page * page;
  if (begin >= end) return 0;
  EXPECT_EQ(::mprotect(reinterpret_cast<void*>(begin), end - begin, PROT_NONE), 0);
  return (end - begin) / page;
}

/// Of every tensor.
std::size_t hide_weights(const Checkpoint& checkpoint) {
  std::size_t pages = 0;
  for (const std::string& name : checkpoint.tensors().names()) {
    pages += hide(checkpoint.tensors().find(name)->view);
  }
  return pages;
}

void expect_headers_only(const fs::path& path) {
  SCOPED_TRACE(path);
  const Checkpoint checkpoint(path);
  const Inspection expected = inspect(checkpoint, DType::kBF16);
  const std::string tree = module_tree(checkpoint);
  ASSERT_GT(hide_weights(checkpoint), 100u);
  const Inspection found = inspect(checkpoint, DType::kBF16);
  EXPECT_EQ(found.bytes, expected.bytes);
  EXPECT_EQ(found.token.bytes, expected.token.bytes);
  EXPECT_EQ(module_tree(checkpoint), tree);
  EXPECT_FALSE(prefill_work(checkpoint, select_kernels(), {}, 8).empty());
}

TEST(UnreadWeights, OfFolders) {
  for (const int bits : {4, 3, 8, 16}) {
    const TemporaryFolder folder;
    expect_headers_only(make_tiny_model(folder, {.bits = bits, .group_size = 32}, wide_config()));
  }
}

TEST(UnreadWeights, OfGgufFiles) {
  const TemporaryFolder folder;
  const Checkpoint dense(make_tiny_model(folder, {.bits = 16}, wide_config()));
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  for (const DType type :
       {DType::kBF16, DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ4_K}) {
    const fs::path file = folder / (std::string(dtype_name(type)) + ".gguf");
    export_gguf(dense, compute, type, file, false);
    expect_headers_only(file);
  }
}

TEST(UnreadWeights, OfOtherTools) {
  const TemporaryFolder folder;
  const Checkpoint packed(make_tiny_model(
      folder, {.bits = 4, .group_size = 32, .quantize_head = false}, wide_config()));
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  export_awq(packed, compute, folder / "awq", false);
  expect_headers_only(folder / "awq");
}

}  // namespace
}  // namespace nibble
