#include "nibble/formats/gguf_writer.h"

#include <vector>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "formats/file_bytes.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_file;
using testing::TemporaryFolder;

TEST(GgufWriter, WritesTheBytesThatTheOfficialPackageWrites) {
  GgufMetadata metadata;
  metadata.set("general.architecture", "llama");
  metadata.set("tokenizer.ggml.model", "llama");
  metadata.set_strings("tokenizer.ggml.tokens",
                       std::vector<std::string>{"<unk>", "<s>", "</s>", "a"});
  metadata.set_floats("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -1});
  metadata.set_ints("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 3, 1});
  const TemporaryFolder folder;
  GgufWriter writer(folder / "x.gguf", metadata, {});
  writer.commit();
  const std::string written = read_file(folder / "x.gguf");
  const std::string official = read_file(testing::test_file("formats/fixtures/vocabulary.gguf"));
  EXPECT_EQ(written.substr(0, official.size()), official);
  EXPECT_EQ(written.size(), (official.size() + 31) / 32 * 32);
}

TEST(GgufWriter, TensorsAndTheirShapesComeBack) {
  const TemporaryFolder folder;
  GgufMetadata metadata;
  metadata.set_uint("u", 7);
  metadata.set_float("f", 0.5f);
  metadata.set_bool("b", true);
  GgufWriter writer(folder / "x.gguf", metadata,
                    {{"matrix", DType::kQ4_1, {3, 64}}, {"vector", DType::kF32, {3}}});
  const std::string matrix(3 * 2 * 20, 'm');
  const std::vector<float> vector = {1, 2, 3};
  writer.append("vector", std::as_bytes(std::span(vector)));
  writer.append("matrix", std::as_bytes(std::span(matrix)));
  writer.commit();
  const GgufFile file(folder / "x.gguf");
  EXPECT_EQ(file.get_int("u", 0, 9), 7);
  EXPECT_EQ(file.get_number("f"), 0.5);
  EXPECT_TRUE(file.get_bool("b", false));
  EXPECT_EQ(file.get("matrix").dtype, DType::kQ4_1);
  EXPECT_THAT(file.get("matrix").shape, ElementsAre(3, 64));
  EXPECT_EQ(std::memcmp(file.get("matrix").data, matrix.data(), matrix.size()), 0);
  EXPECT_EQ(std::memcmp(file.get("vector").data, vector.data(), 12), 0);
  EXPECT_EQ(file.file().size(), writer.file_bytes());
}

TEST(GgufWriter, RefusesWhatTheFormatCannotHold) {
  const TemporaryFolder folder;
  const auto declare = [&](const std::vector<TensorDeclaration>& tensors) {
    GgufWriter(folder / "x.gguf", {}, tensors);
  };
  EXPECT_ERROR(declare({{"a", DType::kQ8_0, {2, 33}}}), HasSubstr("cannot be stored"));
  EXPECT_ERROR(declare({{"a", DType::kU8, {2}}}), HasSubstr("cannot be stored"));
  EXPECT_ERROR(declare({{"a", DType::kF32, {2}}, {"a", DType::kF32, {2}}}),
               HasSubstr("x.gguf: two tensors are named \"a\""));
}

}  // namespace
}  // namespace nibble
