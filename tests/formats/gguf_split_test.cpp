#include "nibble/formats/gguf_split.h"

#include <vector>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "formats/file_bytes.h"
#include "nibble/formats/gguf_writer.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

/// What a part says of itself and the tensors it holds, each one number.
struct Part {
  std::uint32_t number;
  std::uint32_t count;
  std::uint32_t tensors_in_all;
  std::vector<std::string> tensors;
};

void write_part(const std::filesystem::path& path, const Part& part) {
  GgufMetadata metadata;
  if (part.number == 0) metadata.set("general.name", "whole");
  metadata.set_uint("split.no", part.number);
  metadata.set_uint("split.count", part.count);
  metadata.set_uint("split.tensors.count", part.tensors_in_all);
  std::vector<TensorDeclaration> declarations;
  for (const std::string& name : part.tensors) declarations.push_back({name, DType::kF32, {1}});
  GgufWriter writer(path, metadata, declarations);
  for (const std::string& name : part.tensors) {
    const auto value = static_cast<float>(name[0]);
    writer.append(name, std::as_bytes(std::span(&value, 1)));
  }
  writer.commit();
}

class GgufSplit : public ::testing::Test {
 protected:
  GgufSplit() {
    write_part(path(1), {0, 3, 4, {"a"}});
    write_part(path(2), {1, 3, 4, {"b", "c"}});
    write_part(path(3), {2, 3, 4, {"d"}});
  }
  std::filesystem::path path(int number) const {
    return folder_ / ("model-0000" + std::to_string(number) + "-of-00003.gguf");
  }

  TemporaryFolder folder_;
};

TEST_F(GgufSplit, AnyPartOpensTheWhole) {
  for (int number = 1; number <= 3; ++number) {
    const GgufModel model(path(number));
    EXPECT_EQ(model.files().size(), 3u);
    EXPECT_EQ(model.metadata().get_string("general.name"), "whole");
    EXPECT_THAT(model.names(), ElementsAre("a", "b", "c", "d"));
    for (const char* name : {"a", "b", "c", "d"}) {
      float value = 0;
      std::memcpy(&value, model.get(name).data, sizeof value);
      EXPECT_EQ(value, static_cast<float>(name[0]));
      model.drop({model.get(name).data, model.get(name).bytes});
    }
    EXPECT_TRUE(model.contains("d"));
    EXPECT_EQ(model.find("e"), nullptr);
    EXPECT_ERROR(model.get("e"), HasSubstr("has no tensor \"e\""));
  }
}

// A chat template or a tokenizer needs no weights.
TEST_F(GgufSplit, MetadataIsTheFirstPartsWhichIsEnough) {
  std::filesystem::remove(path(2));
  for (const int number : {1, 3}) {
    EXPECT_EQ(open_gguf_metadata(path(number)).get_string("general.name"), "whole");
  }
  std::filesystem::remove(path(1));
  EXPECT_ERROR(open_gguf_metadata(path(3)), HasSubstr("model-00001-of-00003.gguf"));
}

TEST_F(GgufSplit, AFoldersModelsAreFirstParts) {
  write_part(folder_ / "sha256-77", {0, 1, 1, {"a"}});
  write_part(folder_ / "mmproj-model-f16.gguf", {0, 1, 1, {"a"}});
  testing::write_file(folder_ / "README.md", "GGU");
  EXPECT_THAT(gguf_models(folder_.path()), ElementsAre(path(1), folder_ / "sha256-77"));
  EXPECT_THAT(gguf_models(folder_ / "nothing"), ElementsAre());
}

TEST_F(GgufSplit, MissingPartsAreNamed) {
  std::filesystem::remove(path(1));
  std::filesystem::remove(path(3));
  EXPECT_ERROR(GgufModel(path(2)),
               AllOf(HasSubstr("model-00002-of-00003.gguf: "),
                     HasSubstr("model-00001-of-00003.gguf, model-00003-of-00003.gguf")));
}

TEST_F(GgufSplit, PartsOfOtherModelsAreRefused) {
  write_part(path(2), {2, 3, 4, {"b", "c"}});
  EXPECT_ERROR(GgufModel(path(1)), HasSubstr("say part 3 of 3, expected 2 of 3"));
  write_part(path(2), {1, 3, 4, {"b", "a"}});
  EXPECT_ERROR(GgufModel(path(1)), HasSubstr("tensor \"a\" stands in another part too"));
  write_part(path(2), {1, 3, 4, {"b"}});
  EXPECT_ERROR(GgufModel(path(1)), HasSubstr("is 4, but the 3 parts hold 3 tensors"));
  write_part(folder_ / "renamed.gguf", {1, 3, 4, {"b"}});
  EXPECT_ERROR(GgufModel(folder_ / "renamed.gguf"),
               HasSubstr("must end in \"-00002-of-00003.gguf\""));
  write_part(folder_ / "model-00001-of-65535.gguf", {0, 65535, 4, {"b"}});
  EXPECT_ERROR(GgufModel(folder_ / "model-00001-of-65535.gguf"), HasSubstr(" and 65526 more"));
}

TEST_F(GgufSplit, OneFileIsAModelToo) {
  write_part(folder_ / "one.gguf", {0, 1, 1, {"a"}});
  EXPECT_EQ(GgufModel(folder_ / "one.gguf").files().size(), 1u);
  EXPECT_THAT(GgufModel(testing::test_file("formats/fixtures/vocabulary.gguf")).names(),
              ElementsAre());
}

}  // namespace
}  // namespace nibble
