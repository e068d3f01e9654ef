// Elements of a checkpoint's tensor in Hugging Face's order.
#include "nibble/models/tensor_source.h"

#include <gtest/gtest.h>

#include <cstring>

#include "nibble/core/bfloat16.h"

namespace nibble {
namespace {

/// Blocks of Q8_0: a float16 scale of 1/2 and 32 integers, which count on from block to block.
std::vector<std::byte> make_q8_0(std::int64_t blocks) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(34 * blocks));
  for (std::size_t i = 0; i < static_cast<std::size_t>(32 * blocks); ++i) {
    const Float16 scale = to_float16(0.5f);
    std::memcpy(bytes.data() + i / 32 * 34, &scale, 2);
    bytes[i / 32 * 34 + 2 + i % 32] = static_cast<std::byte>(i);
  }
  return bytes;
}

// GGUF's converter moves row s D/2 + j of a head of D rows to 2 j + s (llama.cpp's
// LlamaModel.permute); a vector of any dtype is put back, one in blocks too.
TEST(ReadVector, PutsInterleavedHeadsBackWhateverTheDtype) {
  const std::vector<std::byte> data = make_q8_0(2);
  const CheckpointTensor tensor{
      "blk.0.attn_q.bias", {DType::kQ8_0, {64}, data.data(), data.size()}, 4};
  std::vector<float> values(64);
  read_vector(tensor, values);
  for (int head = 0; head < 4; ++head) {
    for (int s = 0; s < 2; ++s) {
      for (int j = 0; j < 8; ++j) {
        EXPECT_EQ(values[static_cast<std::size_t>(16 * head + 8 * s + j)],
                  0.5f * static_cast<float>(16 * head + 2 * j + s));
      }
    }
  }
  read_vector({"norm", tensor.view}, values);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(values[i], 0.5f * static_cast<float>(i));
}

TEST(ReadVector, UndoesTheRowOrder) {
  const std::vector<float> stored = {0, 1, 2, 3, 4, 5, 6, 7};  // two heads of four
  const CheckpointTensor tensor{
      "bias", {DType::kF32, {8}, reinterpret_cast<const std::byte*>(stored.data()), 32}, 2};
  std::vector<float> out(8);
  read_vector(tensor, out);
  EXPECT_EQ(out, (std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7}));
}

}  // namespace
}  // namespace nibble
