#include "nibble/formats/gguf.h"

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
using testing::TemporaryFolder;
using ::testing::UnorderedElementsAre;
using testing::write_file;

std::string str(const std::string& text) {
  return le<std::uint64_t>(text.size()) + text;
}

/// The bytes of a GGUF file, part by part.
struct Parts {
  std::uint32_t version = 3;
  std::vector<std::string> pairs;
  std::vector<std::string> tensors;
  std::size_t data_bytes = 0;

  std::string bytes() const {
    std::string file =
        "GGUF" + le(version) + le<std::uint64_t>(tensors.size()) + le<std::uint64_t>(pairs.size());
    for (const std::string& pair : pairs) file += pair;
    for (const std::string& tensor : tensors) file += tensor;
    if (data_bytes > 0) file.resize((file.size() + 31) / 32 * 32);
    return file + std::string(data_bytes, 'd');
  }
};

std::string pair(const std::string& key, GgufType type, const std::string& value) {
  return str(key) + le(type) + value;
}

std::string array(GgufType element, std::uint64_t count, const std::string& elements = "") {
  return le(element) + le(count) + elements;
}

/// `dims` innermost first, as in the file; types by ggml's number (0 is F32, 2 is Q4_0).
std::string tensor(const std::string& name, const std::vector<std::uint64_t>& dims,
                   std::uint32_t type, std::uint64_t offset) {
  std::string info = str(name) + le(static_cast<std::uint32_t>(dims.size()));
  for (const std::uint64_t dim : dims) info += le(dim);
  return info + le(type) + le(offset);
}

template <typename Matcher>
void expect_refused(const std::string& bytes, const Matcher& matcher) {
  const TemporaryFolder folder;
  write_file(folder / "x.gguf", bytes);
  EXPECT_ERROR(GgufFile(folder / "x.gguf"), AllOf(HasSubstr("x.gguf: "), matcher));
}

TEST(GgufFile, ReadsTheMetadataThatTheOfficialPackageWrote) {
  const GgufFile file(kFixtures / "mixed.gguf");
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.keys().front(), "general.architecture");
  EXPECT_EQ(file.get_string("general.architecture"), "llama");
  EXPECT_EQ(file.find_int("t.u8"), 200);
  EXPECT_EQ(file.find_int("t.i8"), -100);
  EXPECT_EQ(file.find_int("t.u16"), 60000);
  EXPECT_EQ(file.find_int("t.i16"), -30000);
  EXPECT_EQ(file.find_int("t.u32"), 4'000'000'000);
  EXPECT_EQ(file.find_int("t.i32"), -2'000'000'000);
  EXPECT_EQ(file.find_int("t.i64"), -(std::int64_t{1} << 62));
  EXPECT_EQ(file.get_number("t.f32"), 1.5);
  EXPECT_EQ(file.get_number("t.f64"), 1e300);
  EXPECT_EQ(file.get_number("t.u8"), 200.0);
  EXPECT_TRUE(file.get_bool("t.bool", false));
  EXPECT_EQ(file.get_string("t.string"), "grüße");
  EXPECT_THAT(file.get_strings("t.strings"), ElementsAre("a", "", "länger"));
  EXPECT_THAT(file.get_ints("t.ints"), ElementsAre(1, -2, 3));
  EXPECT_THAT(file.get_floats("t.floats"), ElementsAre(0.5f, -0.25f));
  EXPECT_TRUE(file.is_array("t.nested"));
  EXPECT_FALSE(file.is_array("t.u8"));
}

TEST(GgufFile, GettersNameKeyExpectedAndFound) {
  const GgufFile file(kFixtures / "mixed.gguf");
  EXPECT_ERROR(file.find_int("t.u64"), HasSubstr("below 2^63, found 18446744073709551615"));
  EXPECT_ERROR(file.find_int("t.string"),
               HasSubstr("mixed.gguf: metadata key \"t.string\" must be an integer, found \"grü"));
  EXPECT_ERROR(file.find_int("t.f32"), HasSubstr("must be an integer, found 1.5"));
  EXPECT_ERROR(file.find_string("t.ints"), HasSubstr("a string, found an array of 3 I32"));
  EXPECT_ERROR(file.find_bool("t.u8"), HasSubstr("must be true or false, found 200"));
  EXPECT_ERROR(file.find_number("t.bool"), HasSubstr("a finite number, found BOOL 1"));
  EXPECT_ERROR(file.get_ints("t.strings"), HasSubstr("array of integers, found an array of 3 STR"));
  EXPECT_ERROR(file.get_strings("t.nested"), HasSubstr("found an array of 2 ARRAY"));
  EXPECT_ERROR(file.get_floats("t.f32"), HasSubstr("an array of numbers, found 1.5"));
  EXPECT_ERROR(file.get_int("t.u8", 0, 199), HasSubstr("an integer of 0 to 199, found 200"));
  EXPECT_ERROR(file.get_int("none", 0, 9), HasSubstr("\"none\" is missing (expected an integer"));
  EXPECT_ERROR(file.get_string("none"), HasSubstr("\"none\" is missing (expected a string)"));
  EXPECT_ERROR(file.get_floats("none"), HasSubstr("\"none\" is missing"));
  EXPECT_EQ(file.get_int("none", 0, 9, 5), 5);
  EXPECT_EQ(file.find_strings("none"), std::nullopt);
  EXPECT_TRUE(file.get_bool("none", true));
}

TEST(GgufFile, ReadsTheTensorsThatTheOfficialPackageWrote) {
  const GgufFile file(kFixtures / "mixed.gguf");
  EXPECT_THAT(file.names(),
              UnorderedElementsAre("weight.f32", "weight.f16", "weight.bf16", "weight.q8_0",
                                   "weight.q4_0", "weight.q4_1", "weight.q5_0", "weight.tq1_0"));
  const TensorView& weight = file.get("weight.f32");
  EXPECT_EQ(weight.dtype, DType::kF32);
  EXPECT_THAT(weight.shape, ElementsAre(3, 5));
  float last = 0;
  std::memcpy(&last, weight.data + 14 * sizeof last, sizeof last);
  EXPECT_EQ(last, 1.75f);
  EXPECT_EQ(file.get("weight.q4_1").dtype, DType::kQ4_1);
  EXPECT_THAT(file.get("weight.q4_1").shape, ElementsAre(3, 64));
  EXPECT_EQ(file.get("weight.q4_1").bytes, 3u * 2 * 20);
  EXPECT_ERROR(
      file.find("weight.tq1_0"),
      HasSubstr("tensor \"weight.tq1_0\" has type TQ1_0, which is not supported; "
                "supported: F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, "
                "Q6_K, Q8_K, IQ4_NL, IQ4_XS, F64, BF16"));
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_ERROR(file.get("none"), HasSubstr("has no tensor \"none\""));
}

TEST(GgufFile, OpensAVocabularyWithoutTensors) {
  const GgufFile file(kFixtures / "vocabulary.gguf");
  EXPECT_TRUE(file.entries().empty());
  EXPECT_THAT(file.get_strings("tokenizer.ggml.tokens"), ElementsAre("<unk>", "<s>", "</s>", "a"));
}

TEST(GgufFile, ReadsVersion2AndFilesWithNothingInThem) {
  const TemporaryFolder folder;
  write_file(folder / "x", Parts{.version = 2}.bytes());
  EXPECT_EQ(GgufFile(folder / "x").version(), 2u);
}

TEST(GgufFile, RefusesOtherFilesAndVersions) {
  expect_refused("", HasSubstr("not a GGUF file"));
  expect_refused("GGML and more", HasSubstr("not a GGUF file"));
  expect_refused("GGUF", HasSubstr("cut off in the header"));
  expect_refused(Parts{.version = 1}.bytes(), HasSubstr("version 1 is not supported"));
  expect_refused(Parts{.version = 4}.bytes(), HasSubstr("version 4 is not supported"));
  expect_refused(Parts{.version = 0x03000000}.bytes(), HasSubstr("big-endian"));
}

TEST(GgufFile, RefusesCountsThatCannotBe) {
  const std::string head = "GGUF" + le<std::uint32_t>(3);
  expect_refused(head + le(std::uint64_t{1} << 60) + le<std::uint64_t>(0),
                 HasSubstr("1152921504606846976 tensors cannot fit"));
  expect_refused(head + le<std::uint64_t>(0) + le(~std::uint64_t{0}),
                 HasSubstr("18446744073709551615 metadata keys cannot fit"));
}

TEST(GgufFile, RefusesBrokenMetadata) {
  const auto refused = [](const std::string& one, const char* message) {
    // A second pair leaves bytes behind the first, so that its own checks have to find it.
    const std::string other = pair("other", GgufType::kString, str(std::string(100, 'x')));
    expect_refused(Parts{.pairs = {one, other}}.bytes(), HasSubstr(message));
  };
  const auto unknown = static_cast<GgufType>(13);
  refused(pair("k", unknown, "xxxx"), "metadata key \"k\": unknown value type 13");
  refused(pair("k", GgufType::kArray, array(unknown, 0)), "an array of the unknown value type 13");
  refused(pair("k", GgufType::kString, le(~std::uint64_t{0})), "cut off in metadata key \"k\"");
  refused(pair("k", GgufType::kArray, array(GgufType::kU8, 1u << 30)), "cannot fit in");
  refused(pair("k", GgufType::kArray, array(GgufType::kF64, std::uint64_t{1} << 61)), "cannot fit");
  refused(pair("k", GgufType::kArray, array(GgufType::kString, 100)), "cannot fit in");
  refused(pair("k", GgufType::kArray, array(GgufType::kArray, std::uint64_t{1} << 62)), "cannot");
  refused(pair("other", GgufType::kU8, "x"), "metadata key \"other\" stands there twice");
  refused(le(std::uint64_t{1} << 63), "cut off in the metadata");
}

TEST(GgufFile, RefusesDeeplyNestedArrays) {
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += array(GgufType::kArray, 1);
  nested += array(GgufType::kU8, 0);
  expect_refused(Parts{.pairs = {pair("k", GgufType::kArray, nested)}}.bytes(),
                 HasSubstr("metadata key \"k\": arrays nested too deeply"));
}

TEST(GgufFile, RefusesBrokenTensors) {
  const auto refused = [](const std::string& info, const char* message) {
    expect_refused(Parts{.tensors = {info}, .data_bytes = 64}.bytes(),
                   AllOf(HasSubstr("tensor \"t\""), HasSubstr(message)));
  };
  refused(tensor("t", {16}, 0, 32), "64 bytes at offset 32 do not lie in the file");
  refused(tensor("t", {16}, 0, 128), "do not lie in the file, which has 64 bytes of data");
  refused(tensor("t", {16}, 0, ~std::uint64_t{31}), "do not lie in the file");
  refused(tensor("t", {17}, 0, 0), "68 bytes at offset 0");
  refused(tensor("t", {8}, 0, 4), "offset 4 is not a multiple of the alignment, 32");
  refused(tensor("t", {16}, 2, 0), "not whole blocks of Q4_0 (32 elements)");
  refused(tensor("t", {}, 2, 0), "not whole blocks of Q4_0");
  refused(tensor("t", {1, 1, 1, 1, 1}, 0, 0), "5 dimensions, expected at most 4");
  refused(tensor("t", {~std::uint64_t{0}}, 0, 0), "a dimension of 18446744073709551615");
  refused(tensor("t", {std::uint64_t{1} << 62, 4}, 0, 0), "is too large");
  refused(tensor("t", {std::uint64_t{1} << 62}, 0, 0), "is too large");
}

TEST(GgufFile, RefusesOverlapsAndDuplicates) {
  const auto two = [](const std::string& first, const std::string& second) {
    return Parts{.tensors = {first, second}, .data_bytes = 128}.bytes();
  };
  expect_refused(two(tensor("a", {16}, 0, 0), tensor("b", {8}, 0, 32)),
                 HasSubstr("\"a\" and \"b\" overlap"));
  expect_refused(two(tensor("a", {8}, 0, 0), tensor("a", {8}, 0, 32)),
                 HasSubstr("two tensors are named \"a\""));
}

TEST(GgufFile, AlignmentIsTheFilesOwn) {
  const auto aligned = [](std::uint32_t alignment, std::uint64_t offset) {
    return Parts{.pairs = {pair("general.alignment", GgufType::kU32, le(alignment))},
                 .tensors = {tensor("t", {4}, 0, offset)},
                 .data_bytes = 64}
        .bytes();
  };
  const TemporaryFolder folder;
  write_file(folder / "x", aligned(8, 24));
  EXPECT_EQ(GgufFile(folder / "x").get("t").bytes, 16u);
  expect_refused(aligned(8, 20), HasSubstr("not a multiple of the alignment, 8"));
  expect_refused(aligned(24, 24), HasSubstr("must be a power of two, found 24"));
  expect_refused(aligned(0, 0), HasSubstr("\"general.alignment\" must be an integer of 1 to"));
  expect_refused(aligned(1u << 31, 0), HasSubstr("do not lie in the file, which has 0 bytes"));
}

// gguf's writer makes integers of a list of scores that begins with one.
TEST(GgufFile, FloatsMayBeIntegers) {
  const GgufFile file(kFixtures / "mixed.gguf");
  const std::vector<std::int64_t> ints = file.get_ints("t.ints");
  EXPECT_EQ(file.get_floats("t.ints"), std::vector<float>(ints.begin(), ints.end()));
}

TEST(GgufFile, IsKnownByWhatItBeginsWith) {
  const TemporaryFolder folder;
  write_file(folder / "sha256-7", Parts{}.bytes());
  write_file(folder / "other.gguf", "GGU");
  EXPECT_TRUE(is_gguf_file(folder / "sha256-7"));
  EXPECT_FALSE(is_gguf_file(folder / "other.gguf"));
  EXPECT_FALSE(is_gguf_file(folder.path()));
  EXPECT_FALSE(is_gguf_file(folder / "nothing"));
}

TEST(GgufFile, TypesThatNoTableKnowsFailTheUseOnly) {
  const TemporaryFolder folder;
  write_file(folder / "x", Parts{.tensors = {tensor("t", {32}, 99, 0)}, .data_bytes = 8}.bytes());
  const GgufFile file(folder / "x");
  EXPECT_ERROR(file.find("t"), HasSubstr("tensor \"t\" has type number 99, which is not supp"));
}

TEST(GgufFile, LargeStringArraysAreViews) {
  constexpr std::uint64_t kCount = 150'000;
  std::string tokens;
  for (std::uint64_t i = 0; i < kCount; ++i) tokens += str("token" + std::to_string(i));
  const TemporaryFolder folder;
  write_file(
      folder / "x",
      Parts{.pairs = {pair("tokens", GgufType::kArray, array(GgufType::kString, kCount, tokens))}}
          .bytes());
  const GgufFile file(folder / "x");
  const auto strings = file.get_strings("tokens");
  ASSERT_EQ(strings.size(), kCount);
  EXPECT_EQ(strings.back(), "token149999");
  const auto bytes = file.file().bytes();
  const auto* place = reinterpret_cast<const std::byte*>(strings.back().data());
  EXPECT_TRUE(place > bytes.data() && place < bytes.data() + bytes.size());
}

/// Reads all there is in whatever type it may have.
void use_all(const GgufFile& file) {
  for (const TensorEntry& entry : file.entries()) {
    testing::touch(entry.view.data, entry.view.bytes);
  }
  const auto attempt = [](auto get) {
    try {
      get();
    } catch (const Error&) {
    }
  };
  for (const std::string_view key : file.keys()) {
    attempt([&] { file.find_string(key); });
    attempt([&] { file.find_int(key); });
    attempt([&] { file.find_number(key); });
    attempt([&] { file.find_bool(key); });
    attempt([&] { file.find_strings(key); });
    attempt([&] { file.find_floats(key); });
    attempt([&] { file.find_ints(key); });
  }
}

TEST(GgufFile, DamagedFilesNeverCrash) {
  const TemporaryFolder folder;
  const std::string tiny =
      Parts{.pairs = {pair("general.alignment", GgufType::kU32, le(32u)),
                      pair("s", GgufType::kArray, array(GgufType::kString, 2, str("a") + str("b"))),
                      pair("n", GgufType::kArray,
                           array(GgufType::kArray, 1, array(GgufType::kU8, 2, "xy")))},
            .tensors = {tensor("a", {4, 2}, 0, 0), tensor("b", {32}, 2, 32)},
            .data_bytes = 64}
          .bytes();
  int opened = 0;
  for (const std::string& original : {tiny, testing::read_file(kFixtures / "mixed.gguf")}) {
    testing::for_every_damage(original, 500, [&](const std::string& bytes) {
      write_file(folder / "x", bytes);
      try {
        const GgufFile file(folder / "x");
        use_all(file);
        ++opened;
      } catch (const Error&) {
      }
    });
  }
  EXPECT_GT(opened, 0) << "a flip in the data goes unnoticed, as it must";
}

}  // namespace
}  // namespace nibble
