// GGUF files with bytes changed anywhere: an error that names the file, or a model that runs.
#include <random>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/fixtures.h"
#include "models/logits.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;

/// Where the tensors' data begins, roughly: behind the last name of a tensor.
std::size_t end_of_names(const std::string& bytes) {
  return bytes.rfind(".weight") + 64;
}

/// One to four bytes changed, or the end cut off; three times of four before the tensors' data.
std::string damage(const std::string& whole, std::mt19937& random) {
  std::string bytes = whole;
  const std::size_t head = std::min(end_of_names(whole), whole.size());
  if (random() % 16 == 0) return bytes.substr(0, random() % bytes.size());
  const auto changes = 1 + random() % 4;
  const std::size_t range = random() % 4 == 0 ? bytes.size() : head;
  for (std::size_t i = 0; i < changes; ++i) {
    char& byte = bytes[random() % range];
    byte = random() % 2 == 0 ? static_cast<char>(random()) : static_cast<char>(byte ^ 1);
  }
  return bytes;
}

/// Opens everything that there is to open and runs what opens.
void use(const std::filesystem::path& file) {
  const Checkpoint checkpoint(file);
  if (checkpoint.has_tokenizer()) {
    const Tokenizer tokenizer = checkpoint.load_tokenizer();
    tokenizer.decode(tokenizer.encode("Once upon a time, 12 cats"));
  }
  test::Runner runner(file, {.threads = 1});
  runner.logits(test::reference_ids(3, runner.spec().vocab));
}

class DamagedGguf : public ::testing::TestWithParam<const char*> {};

TEST_P(DamagedGguf, IsRefusedOrRuns) {
  const std::string whole = testing::read_file(kFixtures / GetParam() / "model.gguf");
  const TemporaryFolder folder;
  std::mt19937 random(11);
  int refused = 0;
  int ran = 0;
  for (int i = 0; i < 100; ++i) {
    testing::write_file(folder / "damaged.gguf", damage(whole, random));
    try {
      use(folder / "damaged.gguf");
      ++ran;
    } catch (const Error& error) {
      ++refused;
      // A config value that is wrong in itself is told by its key; all else names the file.
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(refused, 10);
  EXPECT_GT(ran, 5);
}

// A block with some of its biases is damaged, not one without.
TEST(GgufBiases, OneThatIsMissingIsNamed) {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::string& name, const char* missing) {
    std::string bytes = testing::read_file(kFixtures / "gguf_f32_biases" / "model.gguf");
    bytes[bytes.find(name)] = 'x';
    testing::write_file(folder / "model.gguf", bytes);
    EXPECT_ERROR(test::Runner(folder / "model.gguf", {.threads = 1}),
                 ::testing::HasSubstr(missing));
  };
  refuses("blk.0.attn_q.bias", "self_attn.q_proj.bias\" is missing");
  refuses("blk.0.attn_output.bias", "self_attn.o_proj.bias\" is missing");
  refuses("blk.0.ffn_gate.bias", "mlp.gate_proj.bias\" is missing");
  refuses("blk.0.ffn_down.bias", "mlp.down_proj.bias\" is missing");
}

INSTANTIATE_TEST_SUITE_P(Files, DamagedGguf,
                         ::testing::Values("gguf_f32_biases", "gguf_mixed_gpt2",
                                           "gguf_rope_freqs_llama"));

}  // namespace
}  // namespace nibble
