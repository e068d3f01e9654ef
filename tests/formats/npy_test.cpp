#include "nibble/formats/npy.h"

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "formats/file_bytes.h"
#include "formats/fixtures.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::le;
using testing::TemporaryFolder;
using testing::write_file;

std::vector<float> ramp() {
  std::vector<float> values;
  for (int i = 0; i < 15; ++i) values.push_back((static_cast<float>(i) - 7.0f) / 4.0f);
  return values;
}

std::string npy(const std::string& header, const std::string& data) {
  return "\x93NUMPY\x01" + std::string(1, '\0') + le(static_cast<std::uint16_t>(header.size())) +
         header + data;
}

TEST(NpyWriter, WritesByteForByteWhatNumpyWrites) {
  const TemporaryFolder folder;
  NpyWriter writer(folder / "x.npy", 3, 5);
  const std::vector<float> values = ramp();
  writer.write(std::span(values).first(5));
  writer.write(std::span(values).subspan(5));
  writer.commit();
  EXPECT_EQ(testing::read_file(folder / "x.npy"), testing::read_file(kFixtures / "matrix_f32.npy"));
}

TEST(NpyWriter, MisuseNeverMakesAFile) {
  const TemporaryFolder folder;
  const std::vector<float> values = ramp();
  {
    NpyWriter writer(folder / "x.npy", 2, 5);
    EXPECT_ERROR(writer.write(std::span(values).first(4)), HasSubstr("whole rows of 5"));
    EXPECT_ERROR(writer.write(values), HasSubstr("at most 10"));
    writer.write(std::span(values).first(5));
    EXPECT_ERROR(writer.commit(), HasSubstr("5 elements were not written"));
    EXPECT_ERROR(NpyWriter(folder / "y.npy", -1, 5), HasSubstr("too large"));
    EXPECT_ERROR(NpyWriter(folder / "y.npy", INT64_MAX, 5), HasSubstr("too large"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(NpyFile, ReadsWhatNumpyWrote) {
  const NpyFile matrix(kFixtures / "matrix_f32.npy");
  EXPECT_THAT(matrix.shape(), ElementsAre(3, 5));
  EXPECT_EQ(matrix.floats(), ramp());
  const NpyFile vector(kFixtures / "vector_i32.npy");
  EXPECT_THAT(vector.shape(), ElementsAre(3));
  EXPECT_THAT(vector.ints(), ElementsAre(1, -2, 2147483647));
  const NpyFile cube(kFixtures / "cube_u8.npy");
  EXPECT_THAT(cube.shape(), ElementsAre(2, 3, 4));
  EXPECT_EQ(cube.bytes().size(), 24u);
  EXPECT_EQ(cube.bytes()[23], 23);
  EXPECT_THAT(NpyFile(kFixtures / "scalar_f32.npy").floats(), ElementsAre(2.5f));
  EXPECT_THAT(NpyFile(kFixtures / "empty_f32.npy").shape(), ElementsAre(0, 7));
  EXPECT_TRUE(NpyFile(kFixtures / "empty_f32.npy").floats().empty());
}

TEST(NpyFile, RefusesOtherTypesAndOrders) {
  EXPECT_ERROR(NpyFile(kFixtures / "fortran_f32.npy"), HasSubstr("Fortran order"));
  EXPECT_ERROR(NpyFile(kFixtures / "float64.npy"), HasSubstr("type \"<f8\" are not supported"));
  const NpyFile matrix(kFixtures / "matrix_f32.npy");
  EXPECT_ERROR(matrix.ints(), HasSubstr("elements are F32, expected I32"));
  EXPECT_ERROR(matrix.bytes(), HasSubstr("elements are F32, expected U8"));
  EXPECT_ERROR(NpyFile(kFixtures / "cube_u8.npy").floats(), HasSubstr("expected F32"));
}

TEST(NpyFile, RefusesBrokenFiles) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& bytes, const char* message) {
    write_file(folder / "x.npy", bytes);
    EXPECT_ERROR(NpyFile(folder / "x.npy"), HasSubstr(message));
  };
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
  refused("", "not a .npy file");
  refused("NUMPY and more", "not a .npy file");
  refused("\x93NUMPY\x09 and more", ".npy version 9");
  refused("\x93NUMPY\x01", "cut off");
  refused(npy(good, "12345678").substr(0, 20), "cut off");
  refused(npy(good, "1234567"), "7 bytes of data do not make the shape [2] of F32");
  refused(npy(good, "123456789"), "9 bytes of data do not make");
  refused(npy("{'descr': '<f4', 'shape': (2, }", "12345678"), "malformed");
  refused(npy("{'descr': '<f4', 'shape': (-2,)}", "12345678"), "malformed");
  refused(npy("{'descr': '<f4', 'shape': (9999999999999999999,)}", ""), "malformed");
  refused(npy("{'descr': '<f4', 'shape': (4294967296, 4294967296)}", ""), "do not make");
  refused(npy("{'descr': '<f4', 'other': 1}", ""), "malformed");
  refused(npy("{'descr': '<f4'}", ""), "without type or shape");
  refused(npy("{'descr': '>f4', 'shape': (2,)}", "12345678"), "type \">f4\"");
}

TEST(NpyFile, DamagedFilesNeverCrash) {
  const TemporaryFolder folder;
  const std::string original = testing::read_file(kFixtures / "matrix_f32.npy");
  testing::for_every_damage(original, 500, [&](const std::string& bytes) {
    write_file(folder / "x", bytes);
    try {
      const NpyFile file(folder / "x");
      testing::touch(file.view().data, file.view().bytes);
    } catch (const Error&) {
    }
  });
}

}  // namespace
}  // namespace nibble
