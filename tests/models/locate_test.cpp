#include <cstdlib>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/models/checkpoint.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// $NIBBLE_MODELS and $HF_HOME in a folder of the test's own.
class Locate : public ::testing::Test {
 protected:
  Locate() {
    ::setenv("NIBBLE_MODELS", models_.c_str(), 1);
    ::setenv("HF_HOME", (folder_ / "hf").c_str(), 1);
    fs::create_directories(models_);
  }
  ~Locate() override {
    ::unsetenv("NIBBLE_MODELS");
    ::unsetenv("HF_HOME");
  }

  static fs::path add_model(const fs::path& path) {
    fs::create_directories(path);
    write_file(path / "config.json", "{}");
    return path;
  }
  fs::path snapshot(const std::string& repository, const std::string& commit) const {
    return folder_ / "hf" / "hub" / repository / "snapshots" / commit;
  }

  TemporaryFolder folder_;
  fs::path models_ = folder_ / "models";
};

TEST_F(Locate, APathIsItself) {
  const fs::path model = add_model(folder_ / "here");
  add_model(models_ / "here");
  EXPECT_EQ(locate_model(model.string()), model);
}

TEST_F(Locate, NamesUnderTheModelFolder) {
  const fs::path nested = add_model(models_ / "org" / "nested");
  const fs::path flat = add_model(models_ / "flat");
  EXPECT_EQ(locate_model("org/nested"), nested);
  EXPECT_EQ(locate_model("nested"), nested);
  EXPECT_EQ(locate_model("flat"), flat);
  EXPECT_EQ(locate_model("org/flat"), flat);
  write_file(models_ / "file.gguf", "GGUF");
  EXPECT_EQ(locate_model("file"), models_ / "file.gguf");
  EXPECT_EQ(locate_model("file.gguf"), models_ / "file.gguf");
}

TEST_F(Locate, TheFirstOrganizationByName) {
  add_model(models_ / "zzz" / "same");
  const fs::path first = add_model(models_ / "aaa" / "same");
  EXPECT_EQ(locate_model("same"), first);
}

TEST_F(Locate, TokenizerFilesAloneWillDo) {
  fs::create_directories(models_ / "words");
  write_file(models_ / "words" / "tokenizer.json", "{}");
  EXPECT_EQ(locate_model("words"), models_ / "words");
}

TEST_F(Locate, NamesInTheHuggingFaceCache) {
  const fs::path old = add_model(snapshot("models--org--name", "aaa"));
  const fs::path main = add_model(snapshot("models--org--name", "bbb"));
  const fs::path last = add_model(snapshot("models--org--name", "ccc"));
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(old, now - std::chrono::hours(2));
  fs::last_write_time(main, now - std::chrono::hours(1));
  fs::last_write_time(last, now);
  EXPECT_EQ(locate_model("org/name"), last);
  EXPECT_EQ(locate_model("name"), last);
  fs::create_directories(folder_ / "hf/hub/models--org--name/refs");
  write_file(folder_ / "hf/hub/models--org--name/refs/main", "bbb\n");
  EXPECT_EQ(locate_model("org/name"), main);
  EXPECT_ERROR(locate_model("other/name"), HasSubstr("other/name"));
}

TEST_F(Locate, TheModelFolderComesFirst) {
  add_model(snapshot("models--org--name", "aaa"));
  const fs::path own = add_model(models_ / "org" / "name");
  EXPECT_EQ(locate_model("org/name"), own);
}

TEST_F(Locate, SaysWhereItLooked) {
  EXPECT_ERROR(locate_model("nothing"), AllOf(HasSubstr("nothing"), HasSubstr(models_.string()),
                                              HasSubstr((folder_ / "hf" / "hub").string())));
  EXPECT_ERROR(locate_model(""), HasSubstr("empty"));
  add_model(folder_ / "outside");
  EXPECT_ERROR(locate_model("../outside-not"), HasSubstr("no such model"));
  EXPECT_ERROR(locate_model("../models/../outside"), HasSubstr("no such model"));
  EXPECT_ERROR(locate_model("/absent/model"), HasSubstr("/absent/model"));
  fs::create_directories(models_ / "empty");
  EXPECT_ERROR(locate_model("empty"), HasSubstr("no such model"));
}

}  // namespace
}  // namespace nibble
