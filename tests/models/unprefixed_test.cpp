// Checkpoints saved without the head: the names of their tensors lack the leading "model.".
#include <nlohmann/json.hpp>

#include "bench/tiny_model.h"
#include "core/temporary_folder.h"
#include "models/fixtures.h"
#include "models/logits.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/models/inspection.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::make_tiny_model;
using testing::TemporaryFolder;

/// A copy of the model in `from` whose tensors lack the prefix.
fs::path strip_prefix(const fs::path& from, const fs::path& to) {
  fs::create_directory(to);
  fs::copy_file(from / "config.json", to / "config.json");
  const SafetensorsFile file(from / "model.safetensors");
  const auto stripped = [](const std::string& name) {
    return name.starts_with("model.") ? name.substr(6) : name;
  };
  std::vector<TensorDeclaration> declarations;
  for (const TensorEntry& entry : file.entries()) {
    declarations.push_back({stripped(entry.name), entry.view.dtype, entry.view.shape});
  }
  SafetensorsWriter writer(to / "model.safetensors", declarations);
  for (const TensorEntry& entry : file.entries()) {
    writer.append(stripped(entry.name), {entry.view.data, entry.view.bytes});
  }
  writer.commit();
  return to;
}

void expect_the_same_model(const fs::path& from, const fs::path& stripped) {
  test::Runner whole(from, {});
  test::Runner bare(stripped, {});
  const std::vector<std::int32_t> ids = test::reference_ids(12, whole.spec().vocab);
  EXPECT_EQ(whole.logits(ids), bare.logits(ids));
  const Checkpoint original(from);
  const Checkpoint checkpoint(stripped);
  EXPECT_EQ(module_tree(checkpoint), module_tree(original));
  EXPECT_EQ(inspect(checkpoint, DType::kBF16).unused.size(),
            inspect(original, DType::kBF16).unused.size());
}

class Unprefixed : public ::testing::TestWithParam<const char*> {};

TEST_P(Unprefixed, IsTheSameModel) {
  const TemporaryFolder folder;
  const fs::path from = kFixtures / GetParam();
  expect_the_same_model(from, strip_prefix(from, folder / "bare"));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Unprefixed,
                         ::testing::Values("untied_gqa", "tied_f32", "architecture_opt",
                                           "quantized/awq_g32", "quantized/gptq4_g32_act",
                                           "quantized/ct_w4_g32_asym", "quantized/ct_w8a8"),
                         [](const auto& test_case) {
                           std::string name = test_case.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

TEST(Unprefixed, OfOurOwnFormatsToo) {
  for (const int bits : {4, 3, 8}) {
    const TemporaryFolder folder;
    const fs::path from = make_tiny_model(folder, {.bits = bits});
    expect_the_same_model(from, strip_prefix(from, folder / "bare"));
  }
}

}  // namespace
}  // namespace nibble
