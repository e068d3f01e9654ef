#include "nibble/models/written_tensor.h"

#include "core/error_matchers.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;

TEST(WrittenTensor, ComesBackFromNotesToTheLastBit) {
  const std::vector<WrittenTensor> tensors = {
      {.name = "a \"b\"",
       .shape = {3, 5},
       .format = "w4",
       .bits = 4,
       .group_size = 128,
       .error = {.squared_error = 1.0 / 3, .squared_weight = 1e300 / 7, .clipped_groups = 9}},
      {.name = "norm", .shape = {3}, .format = "BF16", .error = {.finite = false}}};
  const std::vector<std::string> notes = {note_of(std::span(tensors).first(1)), note_of({}),
                                          note_of(std::span(tensors).last(1))};
  const std::vector<WrittenTensor> back = tensors_of(notes, "out");
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].name, tensors[0].name);
  EXPECT_EQ(back[0].shape, tensors[0].shape);
  EXPECT_EQ(back[0].format, "w4");
  EXPECT_EQ(back[0].bits, 4);
  EXPECT_EQ(back[0].group_size, 128);
  EXPECT_EQ(back[0].error.squared_error, 1.0 / 3);
  EXPECT_EQ(back[0].error.squared_weight, 1e300 / 7);
  EXPECT_EQ(back[0].error.clipped_groups, 9);
  EXPECT_TRUE(back[0].error.finite);
  EXPECT_EQ(back[1].name, "norm");
  EXPECT_FALSE(back[1].error.finite);
}

TEST(WrittenTensor, OtherNotesAreRefused) {
  for (const char* note : {"", "{", "[1]", "[[1, 2]]"}) {
    const std::vector<std::string> notes = {note};
    EXPECT_ERROR(tensors_of(notes, "out"), HasSubstr("out: what was left"));
  }
}

}  // namespace
}  // namespace nibble
