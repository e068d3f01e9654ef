#include "nibble/formats/tensor_file.h"

#include <vector>

#include "core/error_matchers.h"
#include "core/leave_behind.h"
#include "core/temporary_folder.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::die;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::leave_behind;
using testing::read_file;
using testing::TemporaryFolder;

std::span<const std::byte> bytes_of_text(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// "head", then a, b and c at multiples of 4 behind it.
TensorFileLayout three_tensors(const std::string& header = "head") {
  std::vector<TensorExtent> extents = {{"a", 3}, {"b", 0}, {"c", 5}};
  lay_out_tensors(extents, 4, "x");
  return {header, extents, 4};
}

const std::string kFile = std::string("headaaa\0ccccc\0\0\0", 16);

std::ptrdiff_t entries(const TemporaryFolder& folder) {
  return std::distance(fs::directory_iterator(folder.path()), {});
}

TEST(TensorFile, TensorsComeInAnyOrderAndInPieces) {
  const TemporaryFolder folder;
  TensorFileWriter writer(folder / "x", three_tensors());
  EXPECT_EQ(writer.file_bytes(), kFile.size());
  EXPECT_EQ(writer.bytes_of("c"), 5u);
  EXPECT_TRUE(writer.is_complete("b")) << "it has no bytes";
  writer.append("c", bytes_of_text("cc"));
  writer.append("a", bytes_of_text("aaa"));
  EXPECT_FALSE(writer.is_complete("c"));
  writer.append("c", bytes_of_text("ccc"));
  EXPECT_TRUE(writer.is_complete("c"));
  const std::vector<std::byte> c = writer.read("c");
  EXPECT_TRUE(std::equal(c.begin(), c.end(), bytes_of_text("ccccc").begin()));
  EXPECT_FALSE(fs::exists(folder / "x"));
  writer.commit();
  EXPECT_EQ(read_file(folder / "x"), kFile);
  EXPECT_EQ(entries(folder), 1);
}

TEST(TensorFile, MistakesNeverMakeAFile) {
  const TemporaryFolder folder;
  {
    TensorFileWriter writer(folder / "x", three_tensors());
    EXPECT_ERROR(writer.append("d", {}), HasSubstr("has no tensor \"d\""));
    EXPECT_ERROR(writer.append("a", bytes_of_text("aaaa")),
                 HasSubstr("1 bytes more than tensor \"a\""));
    EXPECT_ERROR(writer.read("a"), HasSubstr("\"a\" has not been written"));
    writer.append("a", bytes_of_text("aaa"));
    writer.append("c", bytes_of_text("cc"));
    EXPECT_ERROR(writer.commit(), HasSubstr("tensor \"c\" lacks 3 of its 5 bytes"));
  }
  EXPECT_EQ(entries(folder), 0);
}

TEST(TensorFile, PlacesAreChecked) {
  std::vector<TensorExtent> twice = {{"a", 3}, {"a", 3}};
  EXPECT_ERROR(lay_out_tensors(twice, 4, "x"), HasSubstr("x: two tensors are named \"a\""));
  std::vector<TensorExtent> large = {{"a", INT64_MAX / 2}, {"b", 2}};
  EXPECT_ERROR(lay_out_tensors(large, 1, "x"), HasSubstr("too large for a file"));
}

const Resumption kFirst{.identity = "w4", .resume = false};
const Resumption kAgain{.identity = "w4", .resume = true};

/// Begins the file with a whole and recorded and c in part, and is killed.
void begin(const fs::path& path, const Resumption& resumption) {
  leave_behind([&] {
    TensorFileWriter writer(path, three_tensors(), resumption);
    writer.append("c", bytes_of_text("xx"));
    writer.append("a", bytes_of_text("aaa"));
    writer.record("first");
    die();
  });
}

fs::path only_entry(const TemporaryFolder& folder) {
  EXPECT_EQ(entries(folder), 1);
  return fs::directory_iterator(folder.path())->path();
}

TEST(ResumedTensorFile, KeepsWhatWasRecorded) {
  const TemporaryFolder folder;
  begin(folder / "x", kFirst);
  EXPECT_EQ(entries(folder), 1);
  TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
  EXPECT_TRUE(writer.is_resumed());
  EXPECT_TRUE(writer.is_complete("a"));
  EXPECT_FALSE(writer.is_complete("c")) << "not recorded: it begins again";
  EXPECT_THAT(writer.notes(), ElementsAre("first"));
  const std::vector<std::byte> a = writer.read("a");
  EXPECT_TRUE(std::equal(a.begin(), a.end(), bytes_of_text("aaa").begin()));
  writer.append("c", bytes_of_text("ccccc"));
  writer.commit();
  EXPECT_EQ(read_file(folder / "x"), kFile);
  EXPECT_EQ(entries(folder), 1);
}

TEST(ResumedTensorFile, MayBeKilledAgain) {
  const TemporaryFolder folder;
  begin(folder / "x", kFirst);
  leave_behind([&] {
    TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
    writer.append("c", bytes_of_text("ccccc"));
    writer.record("second");
    die();
  });
  TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
  EXPECT_TRUE(writer.is_complete("a") && writer.is_complete("c"));
  EXPECT_THAT(writer.notes(), ElementsAre("first", "second"));
  writer.commit();
  EXPECT_EQ(read_file(folder / "x"), kFile);
}

TEST(ResumedTensorFile, StaysWhereAnErrorEndsARunThatMayResume) {
  const TemporaryFolder folder;
  {
    TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
    EXPECT_FALSE(writer.is_resumed());
    EXPECT_FALSE(writer.is_kept()) << "nothing is recorded";
    writer.append("a", bytes_of_text("aaa"));
    writer.record();
    EXPECT_TRUE(writer.is_kept());
    EXPECT_ERROR(writer.commit(), HasSubstr("tensor \"c\" lacks"));
  }
  { const TensorFileWriter writer(folder / "x", three_tensors(), kAgain); }
  EXPECT_TRUE(TensorFileWriter(folder / "x", three_tensors(), kAgain).is_complete("a"));
  const TemporaryFolder other;
  {
    TensorFileWriter writer(other / "x", three_tensors(), kFirst);
    writer.append("a", bytes_of_text("aaa"));
    writer.record();
  }
  EXPECT_EQ(entries(other), 0) << "it did not ask to resume";
}

TEST(ResumedTensorFile, OfAnotherIdentityOrLayoutIsRefusedAndStays) {
  for (const bool other_layout : {false, true}) {
    const TemporaryFolder folder;
    begin(folder / "x", kFirst);
    const auto layout = three_tensors(other_layout ? "HEAD" : "head");
    const Resumption other{.identity = other_layout ? "w4" : "w3", .resume = true};
    EXPECT_ERROR(TensorFileWriter(folder / "x", layout, other),
                 HasSubstr("is of another model or other options"));
    EXPECT_TRUE(TensorFileWriter(folder / "x", three_tensors(), kAgain).is_complete("a"));
  }
}

TEST(ResumedTensorFile, TornAnywhereHoldsWhatIsWhole) {
  const TemporaryFolder folder;
  begin(folder / "x", kFirst);
  leave_behind([&] {
    TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
    writer.append("c", bytes_of_text("ccccc"));
    writer.record("second");
    die();
  });
  const fs::path left = only_entry(folder);
  const std::string whole = read_file(left);
  fs::remove(left);
  std::size_t n_notes = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    testing::write_file(left, whole.substr(0, size));
    TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
    EXPECT_GE(writer.notes().size(), n_notes) << "more is left";
    n_notes = writer.notes().size();
    EXPECT_EQ(writer.is_complete("a"), n_notes == 1) << size;
    EXPECT_FALSE(writer.is_complete("c")) << size;
    if (!writer.is_complete("a")) writer.append("a", bytes_of_text("aaa"));
    writer.append("c", bytes_of_text("ccccc"));
    writer.commit();
    ASSERT_EQ(read_file(folder / "x"), kFile) << size;
    fs::remove(folder / "x");
  }
  EXPECT_EQ(n_notes, 1u);
}

TEST(ResumedTensorFile, ATornRecordIsWrittenOver) {
  const TemporaryFolder folder;
  begin(folder / "x", kFirst);
  const fs::path left = only_entry(folder);
  fs::resize_file(left, fs::file_size(left) - 3);
  leave_behind([&] {
    TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
    writer.append("a", bytes_of_text("aaa"));  // throws if it were complete
    writer.record();
    writer.append("c", bytes_of_text("ccccc"));
    writer.record("third");
    die();
  });
  TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
  EXPECT_THAT(writer.notes(), ElementsAre("", "third"));
  EXPECT_TRUE(writer.is_complete("a") && writer.is_complete("c"));
}

TEST(ResumedTensorFile, ARecordWithAWrongByteIsNone) {
  const TemporaryFolder folder;
  begin(folder / "x", kFirst);
  const fs::path left = only_entry(folder);
  std::string bytes = read_file(left);
  bytes.back() ^= 1;
  testing::write_file(left, bytes);
  TensorFileWriter writer(folder / "x", three_tensors(), kAgain);
  EXPECT_TRUE(writer.is_resumed());
  EXPECT_FALSE(writer.is_complete("a"));
}

TEST(ResumedTensorFile, WithoutAskingOrAnIdentityBeginsAnew) {
  for (const Resumption& second : {kFirst, Resumption{}}) {
    const TemporaryFolder folder;
    begin(folder / "x", kFirst);
    EXPECT_FALSE(TensorFileWriter(folder / "x", three_tensors(), second).is_resumed());
  }
  const TemporaryFolder folder;
  begin(folder / "x", {});
  EXPECT_FALSE(TensorFileWriter(folder / "x", three_tensors(), kAgain).is_resumed());
}

TEST(ResumedTensorFile, WhatAnotherProcessWritesIsRefused) {
  const TemporaryFolder folder;
  const TensorFileWriter first(folder / "x", three_tensors(), kFirst);
  EXPECT_ERROR(TensorFileWriter(folder / "x", three_tensors(), kAgain),
               HasSubstr("is being written by another process"));
}

}  // namespace
}  // namespace nibble
