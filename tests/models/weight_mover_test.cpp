#include "nibble/models/weight_mover.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include "kernels/test_matrix.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/process.h"
#include "nibble/kernels/select.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

using test::make_matrix;
using test::TestMatrix;

/// Notes what is given back.
class FakeSource : public TensorSource {
 public:
  std::vector<std::string> names() const override { return {}; }

  mutable std::vector<const std::byte*> dropped;

 protected:
  std::optional<CheckpointTensor> look_up(const std::string&) const override { return {}; }
  const MappedFile* file_of(std::span<const std::byte> bytes) const override {
    dropped.push_back(bytes.data());
    return nullptr;
  }
};

class Mover : public ::testing::Test {
 protected:
  Mover() {
    std::mt19937 random(5);
    matrices_.push_back(make_matrix({WeightFormat::kBF16, 4099, 512}, random));
    matrices_.push_back(make_matrix({WeightFormat::kW4, 100, 512, 128}, random));
    matrices_.push_back(make_matrix({WeightFormat::kF32, 1000, 512}, random));
    for (const TestMatrix& matrix : matrices_) from_.push_back(in_file(matrix.view));
    layers_.resize(from_.size());
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i].weight.view = from_[i];
    mover_.add({&layers_[0], &layers_[1]});
    mover_.add({&layers_[2]});
  }

  /// The same in what takes the place of a file in small pages.
  WeightView in_file(const WeightView& view) {
    std::array<const std::byte*, kWeightParts> parts{};
    for (std::size_t i = 0; i < kWeightParts; ++i) {
      const WeightPart part = weight_parts(view)[i];
      std::byte* to = file_.data() + file_bytes_;
      if (part.bytes() > 0) std::memcpy(to, part.data, static_cast<std::size_t>(part.bytes()));
      file_bytes_ += static_cast<std::size_t>(part.bytes());
      parts[i] = to;
    }
    return with_parts_at(view, parts);
  }
  bool is_moved(std::size_t i) const {
    return layers_[i].weight.view.parts[kCodesPart] != from_[i].parts[kCodesPart];
  }
  std::size_t moved() const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) count += is_moved(i) ? 1 : 0;
    return count;
  }
  void expect_same_content() const {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const WeightParts from = weight_parts(matrices_[i].view);
      const WeightParts to = weight_parts(layers_[i].weight.view);
      for (std::size_t part = 0; part < kWeightParts; ++part) {
        ASSERT_EQ(from[part].bytes(), to[part].bytes());
        if (from[part].bytes() == 0) continue;
        EXPECT_EQ(std::memcmp(from[part].data, to[part].data,
                              static_cast<std::size_t>(from[part].bytes())),
                  0);
      }
    }
  }

  Buffer file_{std::size_t{8} << 20, Buffer::Pages::kSmall};
  std::size_t file_bytes_ = 0;  // taken
  std::vector<TestMatrix> matrices_;
  std::vector<WeightView> from_;  // in file_
  std::vector<Linear> layers_;
  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
  FakeSource source_;
  WeightMover mover_{compute_, source_};
};

TEST_F(Mover, MovesAllWhenToldTo) {
  if (!has_huge_pages()) GTEST_SKIP() << "the system has no huge pages";
  mover_.move_all();
  EXPECT_EQ(moved(), 3u);
  expect_same_content();
  // Elements; codes, scales and zero points; elements.
  EXPECT_EQ(source_.dropped.size(), 5u);
  EXPECT_EQ(source_.dropped.front(), from_[0].parts[kCodesPart]);
  EXPECT_EQ(source_.dropped.back(), from_[2].parts[kCodesPart]);
  mover_.move_all();
  EXPECT_EQ(source_.dropped.size(), 5u) << "nothing is left";
}

TEST_F(Mover, TakesNoMoreTimeThanAllowed) {
  if (!has_huge_pages()) GTEST_SKIP() << "the system has no huge pages";
  mover_.move();
  EXPECT_EQ(moved(), 0u);
  // A step takes longer than this, and then nothing until passes have made up for it.
  mover_.allow(1e-9);
  for (int i = 0; i < 1000; ++i) mover_.move();
  EXPECT_EQ(moved(), 0u);
  mover_.allow(1e6);
  mover_.move();
  EXPECT_EQ(moved(), 3u);
  expect_same_content();
}

TEST_F(Mover, GoesOnAfterAnInterrupt) {
  if (!has_huge_pages()) GTEST_SKIP() << "the system has no huge pages";
  for (int i = 0; i < 3; ++i) {
    request_interrupt();
    EXPECT_THROW(mover_.move_all(), Interrupted);
    clear_interrupt();
  }
  EXPECT_EQ(moved(), 0u);
  mover_.move_all();
  EXPECT_EQ(moved(), 3u);
  expect_same_content();
  EXPECT_EQ(source_.dropped.size(), 5u) << "each once";
}

TEST_F(Mover, LeavesWhatIsInHugePages) {
  Weight& weight = layers_[0].weight;
  const auto bytes = static_cast<std::size_t>(weight_bytes(weight.view));
  weight.storage = Buffer(bytes);
  std::memcpy(weight.storage.data(), weight.view.parts[kCodesPart], bytes);
  weight.view.parts[kCodesPart] = weight.storage.data();
  const auto at = reinterpret_cast<std::uintptr_t>(weight.view.parts[kCodesPart]);
  const std::vector<MemoryMapping> mappings = memory_mappings();
  const auto mapping = std::find_if(mappings.begin(), mappings.end(), [&](const auto& each) {
    return each.begin <= at && at < each.end;
  });
  ASSERT_NE(mapping, mappings.end());
  if (8 * mapping->huge_bytes < 7 * mapping->resident_bytes) GTEST_SKIP() << "got no huge pages";
  mover_.move_all();
  EXPECT_EQ(weight.view.parts[kCodesPart], weight.storage.data());
  EXPECT_TRUE(is_moved(1) && is_moved(2));
  EXPECT_EQ(source_.dropped.size(), 4u);
  expect_same_content();
}

}  // namespace
}  // namespace nibble
