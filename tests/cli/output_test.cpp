// What may be overwritten, and that a failure leaves nothing behind.
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cli/file_size_limit.h"
#include "cli/in_a_folder.h"
#include "nibble/core/output.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;

class Output : public BesideAModel {};

TEST_F(Output, AnExistingFolderNeedsForce) {
  for (const char* const command : {"quantize", "init"}) {
    SCOPED_TRACE(command);
    const std::string out = std::string(command) + "-out";
    expect_success(here({command, "model", "-o", out, "-q"}));
    write_file(folder_ / out / "mark", "");
    expect_failure(here({command, "model", "-o", out}), 1, {out, "--force"});
    EXPECT_TRUE(fs::exists(folder_ / out / "mark"));
    expect_success(here({command, "model", "-o", out + "/", "-q", "--force"}));
    EXPECT_FALSE(fs::exists(folder_ / out / "mark"));
  }
}

TEST_F(Output, WhatIsNoModelIsNotReplaced) {
  fs::create_directory(folder_ / "papers");
  write_file(folder_ / "papers/thesis", "years");
  write_file(folder_ / "file", "text");
  for (const char* const command : {"quantize", "init"}) {
    expect_failure(here({command, "model", "-o", "papers", "--force"}), 1, {"papers"});
    expect_failure(here({command, "model", "-o", "file", "--force"}), 1, {"file"});
    expect_failure(here({command, "model", "-o", "no/such/folder"}), 1, {"no/such/folder"});
    expect_failure(here({command, "model", "-o", ""}), 1, {"empty"});
  }
  EXPECT_EQ(read_file(folder_ / "papers/thesis"), "years");
  EXPECT_EQ(read_file(folder_ / "file"), "text");
  fs::create_directory(folder_ / "empty");
  expect_success(here({"quantize", "model", "-o", "empty", "--force", "-q"}));
}

TEST_F(Output, TheModelThatIsReadIsNotReplaced) {
  fs::create_directory_symlink("model", folder_ / "link");
  const std::string before = read_file(model_ / "model.safetensors");
  for (const char* const out : {"model", "model/", "model/.", "model/../model", "link", "."}) {
    SCOPED_TRACE(out);
    expect_failure(here({"quantize", "model", "-o", out, "--force"}), 1, {"replace"});
    expect_failure(here({"quantize", "link", "-o", out, "--force"}), 1, {"replace"});
  }
  EXPECT_EQ(read_file(model_ / "model.safetensors"), before);
  EXPECT_EQ(listing(folder_.path()), (std::vector<std::string>{"link", "model"}));
}

TEST_F(Output, ALinkToAFolderStays) {
  expect_success(here({"quantize", "model", "-o", "w4", "-q"}));
  fs::create_directory_symlink("w4", folder_ / "link");
  expect_success(here({"quantize", "model", "-o", "link", "--w-bit", "3", "--force", "-q"}));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(here({"quantize", "w4", "-o", "again"}).status, 1);  // packed already
  EXPECT_EQ(listing(folder_.path()), (std::vector<std::string>{"link", "model", "w4"}));
}

TEST_F(Output, TheCurrentFolder) {
  fs::create_directory(folder_ / "empty");
  Invocation run;
  run.args = {"quantize", model_.string(), "-o", ".", "--force", "-q"};
  run.folder = folder_ / "empty";
  expect_success(run_command(run));
  EXPECT_TRUE(fs::exists(folder_ / "empty/model.safetensors"));
}

TEST_F(Output, LogitsFile) {
  expect_failure(here({"logits", "model", "--tokens", "1", "-o", "model"}), 1, {"model", "folder"});
  expect_failure(here({"logits", "model", "--tokens", "1", "-o", "no/l.npy"}), 1, {"no/l.npy"});
  expect_failure(here({"logits", "model", "--tokens", "1", "-o", ""}), 1, {"empty"});
  expect_failure(here({"logits", "model", "--tokens", "1", "-o", "/dev/full"}), 1, {"/dev/full"});
  write_file(folder_ / "l.npy", "old");
  expect_failure(here({"logits", "model", "--tokens", "1,9999", "-o", "l.npy"}), 1, {"9999"});
  EXPECT_EQ(read_file(folder_ / "l.npy"), "old");
  expect_success(here({"logits", "model", "--tokens", "1", "-o", "l.npy"}));
  EXPECT_EQ(read_file(folder_ / "l.npy").substr(1, 5), "NUMPY");
  EXPECT_EQ(listing(folder_.path()), (std::vector<std::string>{"l.npy", "model"}));
}

/// A small file system of its own, in memory, mounted while it exists.
class SmallDisk {
 public:
  explicit SmallDisk(const fs::path& at) : at_(at) {
    fs::create_directory(at);
    mounted_ = ::mount("tmpfs", at.c_str(), "tmpfs", 0, "size=96k") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  fs::path at_;
  bool mounted_;
};

TEST_F(Output, AFullDiskLeavesNothing) {
  const SmallDisk disk(folder_ / "disk");
  if (!disk.mounted()) GTEST_SKIP() << "a file system can be mounted by root only";
  std::string tokens = "1";
  for (int i = 0; i < 100; ++i) tokens += ",5";
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"quantize", "model", "-o", "disk/w4"},
           {"init", "model", "-o", "disk/w4"},
           {"logits", "model", "--tokens", tokens, "-o", "disk/l.npy"}}) {
    SCOPED_TRACE(::testing::PrintToString(args));
    expect_failure(here(args), 1, {"disk/", "No space left"});
    EXPECT_EQ(listing(folder_ / "disk"), std::vector<std::string>{});
  }
}

TEST_F(Output, AFileLargerThanAllowedLeavesNothing) {
  const FileSizeLimit limit(96 << 10);
  for (const char* const command : {"quantize", "init"}) {
    expect_failure(here({command, "model", "-o", "out"}), 1, {"out", "File too large"});
    EXPECT_EQ(listing(folder_.path()), std::vector<std::string>{"model"});
  }
}

TEST_F(Output, TwoProcessesDoNotWriteTheSame) {
  const OutputFolder other(folder_ / "w4", false);
  const OutputFile other_file(folder_ / "m.gguf");
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"quantize", "model", "-o", "w4"},
                                             {"quantize", "model", "-o", "w4", "--resume"},
                                             {"init", "model", "-o", "w4"},
                                             {"export", "model", "--to", "gguf", "-o", "m.gguf"}}) {
    SCOPED_TRACE(::testing::PrintToString(args));
    expect_failure(here(args), 1, {"is being written by another process"});
  }
  EXPECT_TRUE(fs::exists(other.temporary()) && fs::exists(other_file.temporary()));
}

TEST_F(Output, WithNothingToResumeItBegins) {
  expect_success(here({"quantize", "model", "-o", "w4", "-q"}));
  expect_success(here({"quantize", "model", "-o", "again", "-q", "--resume"}));
  EXPECT_EQ(read_file(folder_ / "again/model.safetensors"),
            read_file(folder_ / "w4/model.safetensors"));
  EXPECT_EQ(listing(folder_.path()), (std::vector<std::string>{"again", "model", "w4"}));
}

}  // namespace
}  // namespace nibble::testing
