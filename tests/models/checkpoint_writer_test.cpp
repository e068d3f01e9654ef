#include "nibble/models/checkpoint_writer.h"

#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/leave_behind.h"
#include "core/temporary_folder.h"
#include "nibble/formats/gguf.h"
#include "nibble/formats/safetensors.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::die;
using ::testing::HasSubstr;
using testing::leave_behind;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

constexpr std::int64_t kRows = 200'001;

FolderContents folder_contents() {
  return {.config = "{\"model_type\": \"x\"}\n",
          .tensors = {{"large", DType::kU8, {kRows, 100}}, {"small", DType::kU8, {3}}}};
}
GgufContents gguf_contents() {
  GgufMetadata metadata;
  metadata.set("general.architecture", "x");
  return {.metadata = metadata,
          .tensors = {{"large", DType::kF32, {kRows, 25}}, {"small", DType::kF32, {1}}}};
}

std::byte byte_at(std::size_t i) {
  return static_cast<std::byte>(i * 7 / 5);
}

/// Byte i is byte_at(i), whatever the pieces are.
void write_large(CheckpointWriter& writer, std::size_t piece_bytes, int threads) {
  ThreadPool pool(threads);
  std::int64_t made = 0;
  writer.write("large", pool,
               {.piece_bytes = piece_bytes,
                .make =
                    [&](std::int64_t piece, std::span<std::byte> out) {
                      std::size_t at = static_cast<std::size_t>(piece) * piece_bytes;
                      for (std::byte& byte : out) byte = byte_at(at++);
                    },
                .made =
                    [&](std::int64_t first, std::int64_t count) {
                      EXPECT_EQ(first, made);  // batches come in order
                      made += count;
                    }});
  EXPECT_EQ(made, (kRows * 100 + static_cast<std::int64_t>(piece_bytes) - 1) /
                      static_cast<std::int64_t>(piece_bytes));
}

const std::vector<std::byte> kSmall = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};

void expect_large(const std::byte* data) {
  for (std::size_t i = 0; i < kRows * 100; ++i) ASSERT_EQ(data[i], byte_at(i)) << i;
}

TEST(CheckpointWriter, WritesAFolder) {
  for (const std::size_t piece_bytes : {100u, 1600u, 1'000'003u, 100'000'000u}) {
    for (const int threads : {1, 3}) {
      const TemporaryFolder folder;
      CheckpointWriter writer({.path = folder / "m"}, folder_contents());
      write_file(writer.folder() / "tokenizer.json", "{}");
      writer.tensors().append("small", std::span(kSmall).first(3));
      write_large(writer, piece_bytes, threads);
      EXPECT_FALSE(fs::exists(folder / "m"));
      writer.commit();
      EXPECT_EQ(read_file(folder / "m" / "config.json"), "{\"model_type\": \"x\"}\n");
      EXPECT_EQ(read_file(folder / "m" / "tokenizer.json"), "{}");
      const SafetensorsFile file(folder / "m" / "model.safetensors");
      expect_large(file.get("large").data);
      EXPECT_EQ(std::distance(fs::directory_iterator(folder / "m"), {}), 3);
      EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
    }
  }
}

TEST(CheckpointWriter, WritesAGgufFile) {
  const TemporaryFolder folder;
  CheckpointWriter writer({.path = folder / "m.gguf"}, gguf_contents());
  writer.tensors().append("small", kSmall);
  write_large(writer, 100, 2);
  writer.commit();
  expect_large(GgufFile(folder / "m.gguf").get("large").data);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(CheckpointWriter, WithoutCommitNothingIsLeft) {
  const TemporaryFolder folder;
  {
    CheckpointWriter writer({.path = folder / "m"}, folder_contents());
    write_large(writer, 1600, 2);
    EXPECT_ERROR(writer.commit(), HasSubstr("tensor \"small\" lacks 3 of its 3 bytes"));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(CheckpointWriter, ReplacesOnlyWhatItMay) {
  const TemporaryFolder folder;
  const auto open = [](const CheckpointDestination& to) {
    CheckpointWriter(to, folder_contents());
  };
  const auto open_gguf = [](const CheckpointDestination& to) {
    CheckpointWriter(to, gguf_contents());
  };
  fs::create_directory(folder / "m");
  write_file(folder / "m" / "config.json", "{}");
  write_file(folder / "m.gguf", "GGUF");
  EXPECT_ERROR(open({.path = folder / "m"}), HasSubstr("m: exists already (--force replaces it)"));
  EXPECT_ERROR(open_gguf({.path = folder / "m.gguf"}), HasSubstr("m.gguf: exists already"));
  EXPECT_ERROR(open({.path = folder / "m", .replace = true, .sources = {folder / "m"}}),
               HasSubstr("the output would replace the model that is read"));
  EXPECT_ERROR(
      open_gguf({.path = folder / "m.gguf", .replace = true, .sources = {folder / "m.gguf"}}),
      HasSubstr("the output would replace the model that is read"));
  open({.path = folder / "m", .replace = true});
  open_gguf({.path = folder / "m.gguf", .replace = true});
  EXPECT_EQ(read_file(folder / "m" / "config.json"), "{}") << "nothing was committed";
}

/// A run that is killed when `large` is complete and noted; what it left is gone on with.
template <typename Contents>
void begin(const CheckpointDestination& to, const Contents& contents) {
  leave_behind([&] {
    CheckpointWriter writer(to, contents);
    write_large(writer, 1600, 1);
    writer.tensors().record();
    writer.tensors().append("small", std::span(kSmall).subspan(2, 1));
    die();
  });
}

CheckpointDestination destination(const fs::path& path, const std::string& identity, bool resume) {
  return {.path = path, .resumption = {.identity = identity, .resume = resume}};
}

TEST(ResumedCheckpoint, OfAFolder) {
  const TemporaryFolder folder;
  begin(destination(folder / "m", "w4", false), folder_contents());
  CheckpointWriter writer(destination(folder / "m", "w4", true), folder_contents());
  EXPECT_TRUE(writer.tensors().is_resumed());
  EXPECT_TRUE(writer.tensors().is_complete("large"));
  EXPECT_FALSE(writer.tensors().is_complete("small"));
  writer.tensors().append("small", std::span(kSmall).first(3));
  writer.commit();

  CheckpointWriter whole({.path = folder / "whole"}, folder_contents());
  write_large(whole, 1600, 1);
  whole.tensors().append("small", std::span(kSmall).first(3));
  whole.commit();
  for (const char* file : {"config.json", "model.safetensors"}) {
    EXPECT_EQ(read_file(folder / "m" / file), read_file(folder / "whole" / file));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "m"), {}), 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2);
}

TEST(ResumedCheckpoint, OfAGgufFile) {
  const TemporaryFolder folder;
  begin(destination(folder / "m.gguf", "q8", false), gguf_contents());
  CheckpointWriter writer(destination(folder / "m.gguf", "q8", true), gguf_contents());
  EXPECT_TRUE(writer.tensors().is_complete("large"));
  writer.tensors().append("small", kSmall);
  writer.commit();
  CheckpointWriter whole({.path = folder / "whole.gguf"}, gguf_contents());
  write_large(whole, 1600, 1);
  whole.tensors().append("small", kSmall);
  whole.commit();
  EXPECT_EQ(read_file(folder / "m.gguf"), read_file(folder / "whole.gguf"));
}

TEST(ResumedCheckpoint, OfAnotherSourceIsRefusedAndStays) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "source");
  write_file(folder / "source" / "model.safetensors", "weights");
  CheckpointDestination to = destination(folder / "m", "w4", false);
  to.sources = {folder / "source"};
  begin(to, folder_contents());
  to.resumption.resume = true;
  const auto resume = [&](const FolderContents& contents) {
    return CheckpointWriter(to, contents).tensors().is_complete("large");
  };
  const auto refused = HasSubstr("is of another model or other options");
  EXPECT_TRUE(resume(folder_contents()));
  FolderContents other = folder_contents();
  other.config = "{}";
  EXPECT_ERROR(resume(other), refused);
  write_file(folder / "source" / "model.safetensors", "changed");  // of the same size
  fs::last_write_time(folder / "source" / "model.safetensors", {});
  EXPECT_ERROR(resume(folder_contents()), refused);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2) << "it is still there";
}

TEST(ResumedCheckpoint, HoldsNoOtherFilesOfTheRunBefore) {
  const TemporaryFolder folder;
  leave_behind([&] {
    CheckpointWriter writer(destination(folder / "m", "w4", false), folder_contents());
    write_file(writer.folder() / ".config.json.partial-1", "{");
    write_large(writer, 1600, 1);
    writer.tensors().record();
    die();
  });
  CheckpointWriter writer(destination(folder / "m", "w4", true), folder_contents());
  EXPECT_TRUE(writer.tensors().is_complete("large"));
  EXPECT_FALSE(fs::exists(writer.folder() / ".config.json.partial-1"));
}

TEST(ResumedCheckpoint, KilledAtAnyMomentEndsInTheSameBytes) {
  const TemporaryFolder folder;
  const auto work = [&](const fs::path& path) {
    CheckpointWriter writer(destination(path, "w4", true), folder_contents());
    if (!writer.tensors().is_complete("small")) {
      writer.tensors().append("small", std::span(kSmall).first(3));
      writer.tensors().record("small");
    }
    if (!writer.tensors().is_complete("large")) {
      write_large(writer, 1600, 1);
      writer.tensors().record("large");
    }
    writer.commit();
  };
  work(folder / "whole");
  for (int milliseconds = 0; !fs::exists(folder / "m"); milliseconds += 1 + milliseconds / 4) {
    const pid_t child = ::fork();
    if (child == 0) {
      work(folder / "m");
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(1000 * milliseconds));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "it failed";
  }
  for (const char* file : {"config.json", "model.safetensors"}) {
    EXPECT_EQ(read_file(folder / "m" / file), read_file(folder / "whole" / file));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "m"), {}), 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2);
}

}  // namespace
}  // namespace nibble
