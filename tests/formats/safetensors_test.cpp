#include "nibble/formats/safetensors.h"

#include <unistd.h>

#include <map>
#include <vector>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "formats/file_bytes.h"
#include "formats/fixtures.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::le;
using ::testing::Pair;
using testing::TemporaryFolder;
using ::testing::UnorderedElementsAre;
using testing::write_file;

template <typename T>
std::vector<T> values(const TensorView& view) {
  std::vector<T> copy(view.bytes / sizeof(T));
  if (!copy.empty()) std::memcpy(copy.data(), view.data, view.bytes);
  return copy;
}

std::string file_of(const std::string& header, std::size_t data_bytes) {
  return le<std::uint64_t>(header.size()) + header + std::string(data_bytes, 'd');
}

/// Opening a file of these bytes fails, and names the file.
template <typename Matcher>
void expect_file_refused(const std::string& bytes, const Matcher& matcher) {
  const TemporaryFolder folder;
  write_file(folder / "x.safetensors", bytes);
  EXPECT_ERROR(SafetensorsFile(folder / "x.safetensors"),
               AllOf(HasSubstr("x.safetensors: "), matcher));
}

TEST(SafetensorsFile, ReadsWhatTheOfficialPackageWrote) {
  const SafetensorsFile file(kFixtures / "mixed.safetensors");
  EXPECT_THAT(file.metadata(), ElementsAre(Pair("format", "pt"), Pair("note", "é")));
  EXPECT_THAT(file.names(),
              UnorderedElementsAre("weight.f32", "weight.f16", "weight.bf16", "ids.i64",
                                   "mask.bool", "empty", "scalar", "eight.f8", "näme \" \\ 名"));
  const TensorView& weight = file.get("weight.f32");
  EXPECT_EQ(weight.dtype, DType::kF32);
  EXPECT_THAT(weight.shape, ElementsAre(3, 5));
  const auto floats = values<float>(weight);
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(floats[i], (static_cast<float>(i) - 7.0f) / 4.0f);
  }
  EXPECT_THAT(values<std::int64_t>(file.get("ids.i64")), ElementsAre(1, -2, 3));
  EXPECT_EQ(values<std::uint16_t>(file.get("weight.f16"))[0], 0xbf00);   // -1.75
  EXPECT_EQ(values<std::uint16_t>(file.get("weight.bf16"))[0], 0xbfe0);  // -1.75
  EXPECT_THAT(file.get("scalar").shape, ElementsAre());
  EXPECT_THAT(file.get("empty").shape, ElementsAre(0, 4));
  EXPECT_EQ(file.get("mask.bool").dtype, DType::kBool);
}

TEST(SafetensorsFile, NamesComeInTheOrderOfTheBytes) {
  const SafetensorsFile file(kFixtures / "mixed.safetensors");
  const std::byte* place = file.entries().front().view.data;
  for (const TensorEntry& entry : file.entries()) {
    EXPECT_EQ(entry.view.data, place);
    place += entry.view.bytes;
  }
}

TEST(SafetensorsFile, UnsupportedTypesFailTheUseOnly) {
  const TemporaryFolder folder;
  write_file(folder / "x.safetensors",
             file_of(R"({"eight":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]}})", 4));
  const SafetensorsFile file(folder / "x.safetensors");
  EXPECT_TRUE(file.contains("eight"));
  EXPECT_ERROR(file.find("eight"),
               AllOf(HasSubstr("x.safetensors: tensor \"eight\" has type F8_E8M0"),
                     HasSubstr("supported: F32, F16, BF16, F64")));
  EXPECT_EQ(file.find("missing"), nullptr);
  EXPECT_ERROR(file.get("missing"), HasSubstr("x.safetensors: has no tensor \"missing\""));
  const SafetensorsFile mixed(kFixtures / "mixed.safetensors");
  EXPECT_EQ(mixed.find("eight.f8")->dtype, DType::kF8E4M3);
}

TEST(SafetensorsFile, ViewsStayValidWhenItMoves) {
  SafetensorsFile file(kFixtures / "mixed.safetensors");
  const TensorView* view = file.find("scalar");
  const SafetensorsFile moved = std::move(file);
  EXPECT_EQ(moved.find("scalar"), view);
  EXPECT_THAT(values<float>(*view), ElementsAre(2.5f));
}

TEST(SafetensorsFile, TakesAFileWithoutTensors) {
  const TemporaryFolder folder;
  write_file(folder / "a", file_of("{}", 0));
  EXPECT_TRUE(SafetensorsFile(folder / "a").names().empty());
  write_file(folder / "b", file_of(R"({"__metadata__":null})", 0));
  EXPECT_TRUE(SafetensorsFile(folder / "b").metadata().empty());
}

TEST(SafetensorsFile, RefusesWrongLengths) {
  expect_file_refused("", HasSubstr("0 bytes, too short"));
  expect_file_refused("1234567", HasSubstr("7 bytes, too short"));
  expect_file_refused(le(std::uint64_t{1} << 60) + "{}",
                      HasSubstr("header of 1152921504606846976"));
  expect_file_refused(le(~std::uint64_t{0}) + "{}", HasSubstr("header of 18446744073709551615"));
  expect_file_refused(le(std::uint64_t{3}) + "{}", HasSubstr("cut off: header of 3 bytes"));
}

TEST(SafetensorsFile, RefusesBrokenHeaders) {
  expect_file_refused(file_of("", 0), HasSubstr("not valid JSON"));
  expect_file_refused(file_of("{", 0), HasSubstr("not valid JSON"));
  expect_file_refused(file_of("{} x", 0), HasSubstr("not valid JSON"));
  expect_file_refused(file_of("{\"\xff\":1}", 0), HasSubstr("not valid JSON"));
  expect_file_refused(file_of("[]", 0), HasSubstr("the header is a list, not an object"));
  expect_file_refused(file_of("3", 0), HasSubstr("the header is a number, not an object"));
  expect_file_refused(file_of(R"({"a":1})", 0), HasSubstr("tensor \"a\": the header has a number"));
  expect_file_refused(file_of(R"({"a":null})", 0), HasSubstr("tensor \"a\": the header has null"));
  expect_file_refused(file_of(R"({"__metadata__":{"k":1}})", 0),
                      HasSubstr("\"__metadata__\" must"));
  expect_file_refused(file_of(R"({"__metadata__":[]})", 0), HasSubstr("\"__metadata__\" must"));
  expect_file_refused(file_of(R"({"__metadata__":{"k":{}}})", 0),
                      HasSubstr("\"__metadata__\" must"));
  expect_file_refused(file_of(std::string(1'000'000, '['), 0), HasSubstr("not an object"));
}

/// A header of one tensor "t" with the fields given, and four bytes of data.
std::string tensor_with(const std::string& fields) {
  return file_of("{\"t\":{" + fields + "}}", 4);
}

TEST(SafetensorsFile, RefusesBrokenTensors) {
  const auto refused = [](const std::string& fields, const char* message) {
    expect_file_refused(tensor_with(fields),
                        AllOf(HasSubstr("tensor \"t\": "), HasSubstr(message)));
  };
  refused(R"("dtype":"F32","shape":[1])", "needs \"dtype\", \"shape\" and \"data_offsets\"");
  refused(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1)", "unknown field \"more\"");
  refused(R"("dtype":"F32","dtype":"F32")", "has \"dtype\" twice");
  refused(R"("dtype":"F99","shape":[1],"data_offsets":[0,4])", "unknown dtype \"F99\"");
  refused(R"("dtype":"Q8_0","shape":[1],"data_offsets":[0,4])", "unknown dtype \"Q8_0\"");
  refused(R"("dtype":4,"shape":[1],"data_offsets":[0,4])", "a number where it does not belong");
  refused(R"("dtype":["F32"],"shape":[1],"data_offsets":[0,4])", "a list where it does not");
  refused(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])", "a list where it does not");
  refused(R"("dtype":"F32","shape":"1","data_offsets":[0,4])", "a string where it does not");
  refused(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])", "a negative number");
  refused(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])", "a broken number");
  refused(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4])", "too large");
  refused(R"("dtype":"F32","shape":[1],"data_offsets":[0])", "must be two numbers");
  refused(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])", "must be two numbers");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", "4 bytes do not make the shape [2]");
  refused(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])", "bytes 0 to 8 do not lie in");
  refused(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", "bytes 4 to 0 do not lie in");
  refused(R"("dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4])",
          "do not make the shape");
  refused(R"("dtype":"F4","shape":[7],"data_offsets":[0,4])", "do not make the shape [7] of F4");
}

TEST(SafetensorsFile, SubByteTypesOpen) {
  const TemporaryFolder folder;
  write_file(folder / "a", tensor_with(R"("dtype":"F4","shape":[8],"data_offsets":[0,4])"));
  EXPECT_ERROR(SafetensorsFile(folder / "a").get("t"), HasSubstr("type F4"));
}

std::string two_tensors(const char* first, const char* second, const char* second_name = "b") {
  return file_of(std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first + "},\"" +
                     second_name + R"(":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}",
                 12);
}

TEST(SafetensorsFile, RefusesGapsOverlapsAndDuplicates) {
  expect_file_refused(two_tensors("[0,4]", "[2,6]"), HasSubstr("\"a\" and \"b\" overlap"));
  expect_file_refused(two_tensors("[0,4]", "[0,4]"), HasSubstr("overlap"));
  expect_file_refused(two_tensors("[0,4]", "[8,12]"),
                      HasSubstr("\"b\": 4 bytes before it belong to no"));
  expect_file_refused(two_tensors("[4,8]", "[8,12]"),
                      HasSubstr("\"a\": 4 bytes before it belong to no"));
  expect_file_refused(two_tensors("[0,4]", "[4,8]"), HasSubstr("4 bytes at the end belong to no"));
  expect_file_refused(two_tensors("[0,4]", "[4,8]", "a"), HasSubstr("two tensors are named \"a\""));
}

TEST(SafetensorsFile, LongNamesAreCutAndControlCharactersEscaped) {
  expect_file_refused(file_of("{\"" + std::string(5000, 'n') + "\\n\":1}", 0),
                      HasSubstr("(5001 bytes)"));
  expect_file_refused(file_of(R"({"a\nb":1})", 0), HasSubstr(R"(tensor "a\nb")"));
}

TEST(SafetensorsFile, DamagedFilesNeverCrash) {
  const TemporaryFolder folder;
  int opened = 0;
  for (const auto& original :
       {testing::read_file(kFixtures / "mixed.safetensors"), two_tensors("[0,4]", "[4,12]")}) {
    testing::for_every_damage(original, 500, [&](const std::string& bytes) {
      write_file(folder / "x", bytes);
      try {
        const SafetensorsFile file(folder / "x");
        for (const TensorEntry& entry : file.entries()) {
          testing::touch(entry.view.data, entry.view.bytes);
        }
        ++opened;
      } catch (const Error&) {
      }
    });
  }
  EXPECT_GT(opened, 0) << "a flip in the data goes unnoticed, as it must";
}

class SafetensorsModelTest : public ::testing::Test {
 protected:
  void write_index(const std::string& weight_map) {
    write_file(folder_ / "model.safetensors.index.json", "{\"weight_map\":" + weight_map + "}");
  }
  void write_shard(const std::string& name, const std::string& tensor) {
    write_file(
        folder_ / name,
        file_of("{\"" + tensor + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  }
  TemporaryFolder folder_;
};

TEST_F(SafetensorsModelTest, ReadsTheShardsOfAnIndex) {
  const SafetensorsModel model(kFixtures / "sharded");
  EXPECT_EQ(model.files().size(), 2u);
  EXPECT_THAT(model.names(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(values<float>(model.get("c")), ElementsAre(3.0f, 3.0f));
  EXPECT_EQ(model.find("unlisted"), nullptr) << "the index decides";
  EXPECT_FALSE(model.contains("unlisted"));
  EXPECT_ERROR(model.get("d"), HasSubstr("sharded: has no tensor \"d\""));
  const TensorView& a = model.get("a");
  const std::span bytes(a.data, a.bytes);
  ASSERT_NE(model.file_of(bytes), nullptr);
  model.file_of(bytes)->drop(bytes);
  EXPECT_THAT(values<float>(a), ElementsAre(1.0f, 1.0f, 1.0f, 1.0f));
}

TEST_F(SafetensorsModelTest, ReadsASingleFile) {
  write_shard("model.safetensors", "x");
  const SafetensorsModel model(folder_.path());
  EXPECT_THAT(model.names(), ElementsAre("x"));
  EXPECT_TRUE(model.contains("x"));
}

TEST_F(SafetensorsModelTest, SaysWhatItLookedFor) {
  EXPECT_ERROR(SafetensorsModel(folder_.path()),
               HasSubstr("looked for model.safetensors and model.safetensors.index.json"));
  EXPECT_ERROR(SafetensorsModel(folder_ / "none"), HasSubstr("none: no such folder"));
}

TEST_F(SafetensorsModelTest, RefusesBrokenIndexes) {
  write_index(R"({"a":"gone.safetensors"})");
  EXPECT_ERROR(SafetensorsModel(folder_.path()),
               AllOf(HasSubstr("index.json"), HasSubstr("\"gone.safetensors\" is missing")));
  write_shard("shard", "b");
  write_index(R"({"a":"shard","b":"shard"})");
  EXPECT_ERROR(SafetensorsModel(folder_.path()), HasSubstr("tensor \"a\" is not in \"shard\""));
  write_index("[]");
  EXPECT_ERROR(SafetensorsModel(folder_.path()), HasSubstr("\"weight_map\" must be an object"));
  write_file(folder_ / "model.safetensors.index.json", "{}");
  EXPECT_ERROR(SafetensorsModel(folder_.path()), HasSubstr("\"weight_map\" is missing"));
}

TEST_F(SafetensorsModelTest, ShardsLieInTheFolder) {
  write_shard("shard", "a");
  for (const char* name : {"\"../shard\"", "\"/etc/passwd\"", "\"x/shard\"", "\"..\"", "\".\"",
                           "\"\"", "\"a\\\\b\"", "\"shard\\u0000\"", "7", "null"}) {
    write_index(std::string("{\"a\":") + name + "}");
    EXPECT_ERROR(SafetensorsModel(folder_.path()),
                 HasSubstr("the file of tensor \"a\" must be a name without folders"));
  }
}

}  // namespace
}  // namespace nibble
