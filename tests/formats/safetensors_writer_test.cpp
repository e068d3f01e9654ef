#include "nibble/formats/safetensors_writer.h"

#include <cstring>
#include <vector>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/formats/safetensors.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::TemporaryFolder;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::vector<TensorDeclaration> two_tensors() {
  return {{.name = "a \"q\" ä", .dtype = DType::kU8, .shape = {2, 3}},
          {.name = "empty", .dtype = DType::kBF16, .shape = {0, 8}},
          {.name = "b", .dtype = DType::kU8, .shape = {}}};
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "x", two_tensors(), {{"k\n", "v\"ü"}});
  writer.append("b", bytes_of("7"));
  writer.append("a \"q\" ä", bytes_of("123456"));
  writer.commit();
  EXPECT_EQ(std::filesystem::file_size(folder / "x"), writer.file_bytes());

  const SafetensorsFile file(folder / "x");
  EXPECT_THAT(file.metadata(), ElementsAre(Pair("k\n", "v\"ü")));
  const TensorView& a = file.get("a \"q\" ä");
  EXPECT_THAT(a.shape, ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(a.data, "1234567", 7), 0);
  EXPECT_EQ((a.data - file.file().bytes().data()) % 64, 0) << "the data is aligned";
  EXPECT_THAT(file.get("empty").shape, ElementsAre(0, 8));
}

TEST(SafetensorsWriter, DataIsAlignedWhateverTheHeadersLength) {
  const TemporaryFolder folder;
  for (std::size_t length = 1; length <= 70; ++length) {
    const std::string name(length, 'n');
    SafetensorsWriter writer(folder / "x", {{.name = name, .dtype = DType::kU8, .shape = {1}}});
    writer.append(name, bytes_of("1"));
    writer.commit();
    const SafetensorsFile file(folder / "x");
    ASSERT_EQ((file.get(name).data - file.file().bytes().data()) % 64, 0) << length;
  }
}

TEST(SafetensorsWriter, WritesAFileWithoutTensors) {
  const TemporaryFolder folder;
  SafetensorsWriter(folder / "x", {}, {}).commit();
  EXPECT_TRUE(SafetensorsFile(folder / "x").names().empty());
}

TEST(SafetensorsWriter, RefusesWhatTheFormatCannotHold) {
  const TemporaryFolder folder;
  const auto declare = [&](const std::string& name, DType dtype,
                           const std::vector<std::int64_t>& shape) {
    SafetensorsWriter(folder / "x", {{.name = "first", .dtype = DType::kU8, .shape = {1}},
                                     {.name = name, .dtype = dtype, .shape = shape}});
  };
  EXPECT_ERROR(declare("first", DType::kU8, {1}), HasSubstr("two tensors are named \"first\""));
  EXPECT_ERROR(declare("__metadata__", DType::kU8, {1}), HasSubstr("cannot be named"));
  EXPECT_ERROR(declare("q", DType::kQ8_0, {32}), HasSubstr("Q8_0 [32] cannot be stored"));
  EXPECT_ERROR(declare("n", DType::kU8, {-1}), HasSubstr("cannot be stored"));
  EXPECT_ERROR(declare("n", DType::kU8, {INT64_MAX}), HasSubstr("too large for a file"));
  EXPECT_ERROR(declare("n", DType::kU8, {INT64_MAX / 4}), HasSubstr("no room"));
  EXPECT_ERROR(declare("bad \xff", DType::kU8, {1}), HasSubstr("not valid UTF-8"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace nibble
