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

/// Sets an environment variable for as long as it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Environment() { ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

// As huggingface_hub's constants.py: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME.
TEST_F(Locate, TheCacheIsWhereTheHubsVariablesPutIt) {
  ::unsetenv("HF_HOME");
  const fs::path repository = "models--org--name/snapshots/aaa";
  const fs::path one = add_model(folder_ / "one" / repository);
  const fs::path two = add_model(folder_ / "two" / repository);
  const fs::path home = add_model(folder_ / "home/hub" / repository);
  const fs::path xdg = add_model(folder_ / "xdg/huggingface/hub" / repository);
  EXPECT_ERROR(locate_model("org/name"), HasSubstr("no such model"));
  const Environment caches("XDG_CACHE_HOME", (folder_ / "xdg").string());
  EXPECT_EQ(locate_model("org/name"), xdg);
  const Environment root("TEST_ROOT", folder_.path().string());
  const Environment hf("HF_HOME", "$TEST_ROOT/${TEST_HOME}home");
  EXPECT_ERROR(locate_model("org/name"), HasSubstr("${TEST_HOME}home/hub"));  // is not set
  ::setenv("HF_HOME", "$TEST_ROOT/home", 1);
  EXPECT_EQ(locate_model("org/name"), home);
  const Environment older("HUGGINGFACE_HUB_CACHE", "${TEST_ROOT}/two");
  EXPECT_EQ(locate_model("org/name"), two);
  const char* home_before = std::getenv("HOME");
  const std::string kept = home_before == nullptr ? "" : home_before;
  const Environment newer("HF_HUB_CACHE", "~/one");
  ::setenv("HOME", folder_.path().c_str(), 1);
  EXPECT_EQ(locate_model("org/name"), one);
  ::setenv("HOME", kept.c_str(), 1);
}

TEST_F(Locate, AFolderOfGgufFilesIsTheOneInIt) {
  const fs::path repository = snapshot("models--org--name-GGUF", "aaa");
  fs::create_directories(repository);
  write_file(repository / "README.md", "no model");
  write_file(repository / "name.Q4_K_M.gguf", "GGUF");
  write_file(repository / "mmproj-f16.gguf", "GGUF");
  EXPECT_EQ(locate_model("org/name-GGUF"), repository / "name.Q4_K_M.gguf");
  EXPECT_EQ(locate_model(repository.string()), repository / "name.Q4_K_M.gguf");
  write_file(repository / "name.Q8_0-00001-of-00002.gguf", "GGUF");
  write_file(repository / "name.Q8_0-00002-of-00002.gguf", "GGUF");
  EXPECT_ERROR(locate_model("org/name-GGUF"),
               AllOf(HasSubstr("holds 2 GGUF models, expected the name of one behind it"),
                     HasSubstr("name.Q4_K_M.gguf, name.Q8_0-00001-of-00002.gguf")));
  EXPECT_EQ(locate_model("org/name-GGUF/name.Q4_K_M.gguf"), repository / "name.Q4_K_M.gguf");
  EXPECT_ERROR(locate_model("org/name-GGUF/name.Q2_K.gguf"), HasSubstr("no such model"));
  // A folder with weights of its own is not looked through.
  write_file(repository / "model.safetensors", "x");
  EXPECT_EQ(locate_model(repository.string()), repository);
  write_file(models_ / "sha256-77", "GGUF");  // whatever its name
  EXPECT_EQ(locate_model("sha256-77"), models_ / "sha256-77");
}

// As llama.cpp's -hf: "org/name:quantization".
TEST_F(Locate, AQuantizationChoosesOneOfSeveralFiles) {
  const fs::path repository = snapshot("models--org--name-GGUF", "aaa");
  fs::create_directories(repository / "Q8_0");
  for (const char* file :
       {"name.BF16.gguf", "name.F16.gguf", "name-Q4_K_M.gguf", "name-Q4_K_S.gguf",
        "imatrix_unsloth.gguf", "Q8_0/name-Q8_0-00001-of-00002.gguf",
        "Q8_0/name-Q8_0-00002-of-00002.gguf"}) {
    write_file(repository / file, "GGUF");
  }
  EXPECT_EQ(locate_model("org/name-GGUF:Q4_K_M"), repository / "name-Q4_K_M.gguf");
  EXPECT_EQ(locate_model("name-GGUF:q4_k_s"), repository / "name-Q4_K_S.gguf");
  EXPECT_EQ(locate_model("org/name-GGUF:f16"), repository / "name.F16.gguf");
  EXPECT_EQ(locate_model("org/name-GGUF:Q8_0"), repository / "Q8_0/name-Q8_0-00001-of-00002.gguf");
  EXPECT_EQ(locate_model(repository.string() + ":BF16"), repository / "name.BF16.gguf");
  EXPECT_ERROR(locate_model("org/name-GGUF"),
               AllOf(HasSubstr("holds 5 GGUF models"), HasSubstr("NAME:Q4_K_M"),
                     HasSubstr("name.F16.gguf, Q8_0/name-Q8_0-00001-of-00002.gguf")));
  EXPECT_ERROR(
      locate_model("org/name-GGUF:Q2_K"),
      AllOf(HasSubstr("no GGUF model is Q2_K: name-Q4_K_M.gguf"), HasSubstr("name.BF16.gguf")));
  EXPECT_ERROR(locate_model("org/other:Q2_K"), HasSubstr("org/other:Q2_K: no such model"));
  write_file(repository / "name-UD-Q4_K_M.gguf", "GGUF");
  EXPECT_ERROR(locate_model("org/name-GGUF:Q4_K_M"),
               HasSubstr("2 GGUF models are Q4_K_M, expected the name of one: name-Q4_K_M.gguf, "
                         "name-UD-Q4_K_M.gguf"));
  EXPECT_EQ(locate_model("org/name-GGUF:UD-Q4_K_M"), repository / "name-UD-Q4_K_M.gguf");
  add_model(models_ / "dense");
  EXPECT_ERROR(locate_model("dense:Q4_0"), HasSubstr("holds no GGUF model"));
}

TEST_F(Locate, BrokenLinksAreCalledSo) {
  fs::create_symlink("gone", folder_ / "link");
  EXPECT_ERROR(locate_model((folder_ / "link").string()), HasSubstr("link: is a broken link"));
  const fs::path model = snapshot("models--org--name", "aaa");
  fs::create_directories(model);
  fs::create_symlink("../../blobs/gone", model / "config.json");
  EXPECT_EQ(locate_model("org/name"), model);
  EXPECT_ERROR(Checkpoint(fs::path(model)), HasSubstr("config.json: is a broken link"));
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
