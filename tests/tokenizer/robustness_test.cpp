// Damaged tokenizer files give an Error or a tokenizer that works; never a crash or a hang.
#include <gtest/gtest.h>

#include <random>

#include "core/temporary_folder.h"
#include "nibble/core/error.h"
#include "tokenizer/fixtures.h"

namespace nibble {
namespace {

constexpr int kMutations = 200;

/// Changes a few bytes, cuts the end off, doubles a part, or swaps digits.
std::string mutate(std::string bytes, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return random() % std::max<std::size_t>(n, 1); };
  switch (random() % 5) {
    case 0:
      bytes.resize(below(bytes.size()));
      break;
    case 1:
      bytes.insert(below(bytes.size()), bytes.substr(below(bytes.size()), below(200)));
      break;
    case 2:
      bytes.erase(below(bytes.size()), below(100));
      break;
    default:
      break;
  }
  for (std::size_t i = 0; i < 1 + random() % 8 && !bytes.empty(); ++i) {
    char& byte = bytes[below(bytes.size())];
    const bool digit = byte >= '0' && byte <= '9';
    byte = static_cast<char>(digit ? '0' + random() % 10 : random() % 256);
  }
  return bytes;
}

void use(const Tokenizer& tokenizer) {
  const std::string text = "<s>Hello  wörld 123\n\t<|end|> ▁x \xff 中文 <mask> the end";
  for (const bool special : {true, false}) {
    const auto ids = tokenizer.encode(text, {.add_special = special, .parse_special = special});
    tokenizer.decode(ids, special);
  }
  std::vector<std::int32_t> all;
  for (std::int32_t id = -2; id < std::min(tokenizer.vocab_size() + 2, 5000); ++id) {
    all.push_back(id);
    tokenizer.id_to_token(id);
  }
  tokenizer.decode(all);
}

class Robustness : public ::testing::TestWithParam<std::string> {};

TEST_P(Robustness, DamagedFilesAreErrorsOrWork) {
  const auto source = testing::fixture_folder() / GetParam();
  std::mt19937 random(1);
  int refused = 0;
  for (const char* name :
       {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json"}) {
    if (!std::filesystem::exists(source / name)) continue;
    const testing::TemporaryFolder folder;
    std::filesystem::copy(source, folder.path());
    std::filesystem::permissions(folder.path() / name, std::filesystem::perms::owner_all);
    const std::string whole = testing::read_file(source / name);
    for (int i = 0; i < kMutations; ++i) {
      testing::write_file(folder / name, mutate(whole, random));
      try {
        use(Tokenizer::load(folder.path()));
      } catch (const Error& error) {
        EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos)
            << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, kMutations / 20);
}

INSTANTIATE_TEST_SUITE_P(All, Robustness, ::testing::ValuesIn(testing::fixture_names()),
                         [](const auto& suite) {
                           std::string name = suite.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace nibble
