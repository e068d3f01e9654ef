// Real tokenizers on real texts, where NIBBLE_SHARED names a folder that holds them: number and
// hash of the ids that the `tokenizers` package (0.23) and SentencePiece (0.2) give.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "nibble/core/mapped_file.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {
namespace {

/// FNV-1a, 64 bits, over the ids as little-endian 32-bit numbers.
std::uint64_t hash_ids(const std::vector<std::int32_t>& ids) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ (static_cast<std::uint32_t>(id) >> shift & 0xFF)) * 0x100000001b3u;
    }
  }
  return hash;
}

struct Expected {
  std::size_t ids;
  std::uint64_t hash;
};

struct SharedCase {
  const char* tokenizer;
  bool model_file;  // tokenizer.model, without the tokenizer.json beside it
  Expected wikitext;
  Expected mmlu;
};

// What the name of a test shows of it.
void PrintTo(const SharedCase& shared, std::ostream* out) {
  *out << shared.tokenizer << (shared.model_file ? " tokenizer.model" : "");
}

class SharedSlow : public ::testing::TestWithParam<SharedCase> {
 protected:
  void SetUp() override {
    const char* shared = std::getenv("NIBBLE_SHARED");
    if (!shared) GTEST_SKIP() << "NIBBLE_SHARED is not set";
    data_ = std::filesystem::path(shared) / "data";
  }

  /// All questions of MMLU, one file behind the other.
  std::string mmlu() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(data_ / "mmlu" / "test")) {
      files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::string text;
    for (const auto& file : files) text += read_text_file(file);
    return text;
  }

  Tokenizer load() const {
    const auto folder = data_ / "tokenizers" / GetParam().tokenizer;
    if (!GetParam().model_file) return Tokenizer::load(folder);
    const auto alone = std::filesystem::temp_directory_path() / "nibble-shared-tokenizer";
    std::filesystem::create_directories(alone);
    std::filesystem::copy_file(folder / "tokenizer.model", alone / "tokenizer.model",
                               std::filesystem::copy_options::overwrite_existing);
    Tokenizer tokenizer = Tokenizer::load(alone);
    std::filesystem::remove_all(alone);
    return tokenizer;
  }

  static void expect(const Tokenizer& tokenizer, const std::string& text,
                     const Expected& expected) {
    const auto ids = tokenizer.encode(text, {.add_special = false});
    EXPECT_EQ(ids.size(), expected.ids);
    EXPECT_EQ(hash_ids(ids), expected.hash);
    EXPECT_TRUE(tokenizer.decode(ids) == text);
  }

  std::filesystem::path data_;
};

TEST_P(SharedSlow, IdsAreThoseOfTheReference) {
  const Tokenizer tokenizer = load();
  expect(tokenizer, read_text_file(data_ / "wikitext-2-raw" / "wiki.test.raw"),
         GetParam().wikitext);
  expect(tokenizer, mmlu(), GetParam().mmlu);
}

constexpr Expected kLlama2Wikitext{335687, 0x798df6a29ce15af4};
constexpr Expected kLlama2Mmlu{1600198, 0x3afc895dfd2d8309};
constexpr Expected kLlama3Wikitext{289076, 0xaa9209a16572bef2};
constexpr Expected kLlama3Mmlu{1355907, 0xc308f1cd1a1675e9};
constexpr Expected kQwenWikitext{299078, 0xb6183fb61275fd2a};
constexpr Expected kQwenMmlu{1382257, 0xac97e67a843fec0e};

INSTANTIATE_TEST_SUITE_P(
    Tokenizers, SharedSlow,
    ::testing::Values(
        SharedCase{"llama2", false, kLlama2Wikitext, kLlama2Mmlu},
        SharedCase{"llama2", true, kLlama2Wikitext, kLlama2Mmlu},
        SharedCase{"llama3", false, kLlama3Wikitext, kLlama3Mmlu},
        SharedCase{"llama3", true, kLlama3Wikitext, kLlama3Mmlu},
        SharedCase{"qwen2", false, kQwenWikitext, kQwenMmlu},
        SharedCase{"qwen3", false, kQwenWikitext, kQwenMmlu},
        SharedCase{"opt", false, {286221, 0xe84f5ee36dcc4047}, {1381897, 0x1ba3e92eca599d5c}}),
    [](const auto& suite) {
      return std::string(suite.param.tokenizer) + (suite.param.model_file ? "_model" : "");
    });

}  // namespace
}  // namespace nibble
