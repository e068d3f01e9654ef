// Where the rows of a quantized model's embedding are: as bfloat16, as int8, in the packed head.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/logits.h"
#include "nibble/convert/export.h"
#include "nibble/formats/gguf.h"
#include "nibble/formats/safetensors.h"
#include "nibble/models/inspection.h"
#include "nibble/quant/pipeline.h"
#include "paths.h"
#include "quant/dequantized_model.h"
#include "quant/fixtures.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const fs::path kUntied = testing::test_file("models/fixtures/gguf_mixed_gpt2/model.gguf");
const std::string kTable = "model.embed_tokens";

QuantizeReport quantize_with(const fs::path& model, const fs::path& out,
                             const QuantizeOptions& options) {
  const Checkpoint checkpoint(model);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  return quantize_model(checkpoint, plan_quantization(checkpoint.spec(), options), compute,
                        {.path = out});
}

std::vector<float> logits(const fs::path& model, std::size_t batch = 0) {
  test::Runner runner(model, {.dtype = DType::kF32});
  return runner.logits(test::reference_ids(20, runner.spec().vocab), batch);
}

std::map<std::string, StoredParameter> stored(const fs::path& model) {
  std::map<std::string, StoredParameter> all;
  for (StoredParameter& parameter : stored_parameters(Checkpoint(model))) {
    std::string name = parameter.name;
    all.emplace(std::move(name), std::move(parameter));
  }
  return all;
}

/// Its tensors in all, and that each is listed.
std::int64_t bytes_listed(const fs::path& model) {
  const Inspection inspection = inspect(Checkpoint(model), DType::kBF16);
  EXPECT_TRUE(inspection.unused.empty());
  std::int64_t bytes = 0;
  const SafetensorsFile file(model / "model.safetensors");
  for (const TensorEntry& entry : file.entries()) {
    bytes += static_cast<std::int64_t>(entry.view.bytes);
  }
  EXPECT_EQ(inspection.bytes, bytes);
  return bytes;
}

/// Its rows are what a model of the dequantized weights has.
void expect_logits_of_its_weights(const fs::path& packed) {
  const TemporaryFolder folder;
  testing::write_dequantized(packed, folder / "dense");
  const auto vocab = static_cast<std::size_t>(Checkpoint(packed).spec().vocab);
  const std::vector<float> expected = logits(folder / "dense");
  for (const std::size_t batch : {0u, 1u}) {
    test::expect_close_logits(logits(packed, batch), expected, vocab, 2e-6, 1e-4);
  }
}

struct EmbeddingCase {
  const char* name;
  fs::path model;
  QuantizeOptions options;
};

class PackedEmbedding : public ::testing::TestWithParam<EmbeddingCase> {};

TEST_P(PackedEmbedding, GivesTheLogitsOfItsDequantizedWeights) {
  const TemporaryFolder folder;
  quantize_with(GetParam().model, folder / "packed", GetParam().options);
  EXPECT_TRUE(Checkpoint(folder / "packed").is_quantized());
  bytes_listed(folder / "packed");
  expect_logits_of_its_weights(folder / "packed");
}

INSTANTIATE_TEST_SUITE_P(
    Models, PackedEmbedding,
    ::testing::Values(
        EmbeddingCase{
            "int8_tied", kStories, {.group_size = 32, .embedding = EmbeddingStorage::kInt8}},
        // 264 rows, no multiple of 16.
        EmbeddingCase{"int8_untied", kUntied, {.embedding = EmbeddingStorage::kInt8}},
        EmbeddingCase{"int8_untied_head_dense",
                      kUntied,
                      {.quantize_head = false, .embedding = EmbeddingStorage::kInt8}},
        EmbeddingCase{
            "head_w4", kStories, {.group_size = 64, .embedding = EmbeddingStorage::kHead}},
        EmbeddingCase{"head_w3",
                      kStories,
                      {.bits = 3, .group_size = 32, .embedding = EmbeddingStorage::kHead}},
        EmbeddingCase{"head_w8", kStories, {.bits = 8, .embedding = EmbeddingStorage::kHead}},
        EmbeddingCase{"head_of_all_dense",
                      kStories,
                      {.embedding = EmbeddingStorage::kHead, .exclude = {"model.layers.*"}}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(EmbeddingOfInt8, IsSmallerAndNearTheOriginal) {
  const TemporaryFolder folder;
  const QuantizeReport dense = quantize_with(kStories, folder / "dense", {.group_size = 64});
  const QuantizeReport int8 = quantize_with(
      kStories, folder / "int8", {.group_size = 64, .embedding = EmbeddingStorage::kInt8});
  // 512 rows of 64, in bfloat16 and in bytes with a float for each row.
  EXPECT_EQ(bytes_listed(folder / "dense") - bytes_listed(folder / "int8"), 512 * (64 - 4));
  EXPECT_EQ(int8.bits_per_weight, dense.bits_per_weight) << "a token reads one row";
  EXPECT_LT(int8.file_bits_per_parameter, dense.file_bits_per_parameter);
  const WrittenTensor& table = int8.tensors.back();
  EXPECT_EQ(table.name, kTable + ".weight");
  EXPECT_EQ(table.bits, 8);
  EXPECT_GT(table.error.relative(), 0.001);
  EXPECT_LT(table.error.relative(), 0.02);
  const auto tensors = stored(folder / "int8");
  EXPECT_EQ(tensors.at(kTable + ".weight").format, "w8");
  EXPECT_EQ(tensors.at("lm_head.weight").format, "w4");
  EXPECT_THAT(
      module_tree(Checkpoint(folder / "int8")),
      AllOf(HasSubstr("(embed_tokens): Embedding(512, 64, bits=8)\n"), Not(HasSubstr("tied"))));
}

TEST(EmbeddingInTheHead, IsOneMatrix) {
  const TemporaryFolder folder;
  const QuantizeReport dense = quantize_with(kStories, folder / "dense", {.group_size = 64});
  const QuantizeReport shared = quantize_with(
      kStories, folder / "head", {.group_size = 64, .embedding = EmbeddingStorage::kHead});
  EXPECT_EQ(bytes_listed(folder / "dense") - bytes_listed(folder / "head"), 512 * 64 * 2);
  EXPECT_EQ(shared.bits_per_weight, dense.bits_per_weight);
  const auto tensors = stored(folder / "head");
  EXPECT_EQ(tensors.at(kTable + ".weight").format, "w4");
  EXPECT_FALSE(tensors.contains("lm_head.weight")) << "it is the embedding's, counted once";
  const Json modules =
      read_json_file(folder / "head/config.json")["quantization_config"]["modules"];
  EXPECT_EQ(modules[kTable], (Json{{"bits", 4}, {"group_size", 64}}));
  EXPECT_FALSE(modules.contains("lm_head"));
  EXPECT_THAT(module_tree(Checkpoint(folder / "head")),
              AllOf(HasSubstr("Embedding(512, 64, bits=4, group_size=64)\n"),
                    HasSubstr("bits=4, group_size=64, tied to the embedding)\n")));
}

TEST(EmbeddingOptions, AreRefusedWhereTheyCannotBe) {
  const ModelSpec tied = Checkpoint(kStories).spec();
  const ModelSpec untied = Checkpoint(kUntied).spec();
  EXPECT_ERROR(plan_quantization(untied, {.embedding = EmbeddingStorage::kHead}),
               AllOf(HasSubstr("--embedding head"), HasSubstr("tied")));
  for (const EmbeddingStorage storage : {EmbeddingStorage::kHead, EmbeddingStorage::kInt8}) {
    const auto dense_head = AllOf(HasSubstr("--embedding"), HasSubstr("kept dense"));
    EXPECT_ERROR(plan_quantization(tied, {.quantize_head = false, .embedding = storage}),
                 dense_head);
    EXPECT_ERROR(plan_quantization(tied, {.embedding = storage, .exclude = {"lm_head"}}),
                 dense_head);
  }
  EXPECT_NO_THROW(
      plan_quantization(untied, {.quantize_head = false, .embedding = EmbeddingStorage::kInt8}));
}

/// The model, exported, gives the logits of the packed one, but for float16 in place of bfloat16
/// and float32: 2^-12 of a number at most.
class PackedEmbeddingExport : public ::testing::TestWithParam<EmbeddingStorage> {
 protected:
  PackedEmbeddingExport() {
    quantize_with(kStories, packed_, {.group_size = 32, .embedding = GetParam()});
  }
  /// Relative to the logits' deviation.
  double distance(const fs::path& exported) const {
    const std::vector<float> expected = logits(packed_);
    const std::vector<float> found = logits(exported);
    double squares = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto difference = static_cast<double>(found[i] - expected[i]);
      squares += difference * difference;
    }
    return std::sqrt(squares / static_cast<double>(found.size())) /
           test::standard_deviation(expected);
  }

  TemporaryFolder folder_;
  fs::path packed_ = folder_ / "packed";
  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
};

TEST_P(PackedEmbeddingExport, ToAFolder) {
  export_hugging_face(Checkpoint(packed_), compute_, DType::kF16, folder_ / "hf", false);
  EXPECT_LT(distance(folder_ / "hf"), 2e-3);
  EXPECT_EQ(Checkpoint(folder_ / "hf").spec().tied_head, GetParam() == EmbeddingStorage::kHead);
}

TEST_P(PackedEmbeddingExport, ToAwq) {
  export_awq(Checkpoint(packed_), compute_, folder_ / "awq", false);
  EXPECT_LT(distance(folder_ / "awq"), 2e-3);
}

TEST_P(PackedEmbeddingExport, ToGguf) {
  export_gguf(Checkpoint(packed_), compute_, std::nullopt, folder_ / "m.gguf", false);
  EXPECT_LT(distance(folder_ / "m.gguf"), 2e-3);
  const GgufFile file(folder_ / "m.gguf");
  const bool in_head = GetParam() == EmbeddingStorage::kHead;
  EXPECT_EQ(file.get("token_embd.weight").dtype, in_head ? DType::kQ4_1 : DType::kQ8_0);
  EXPECT_EQ(file.contains("output.weight"), !in_head);
}

TEST_P(PackedEmbeddingExport, ToGgufOfFourBits) {
  export_gguf(Checkpoint(packed_), compute_, DType::kQ4_0, folder_ / "m.gguf", false);
  const bool in_head = GetParam() == EmbeddingStorage::kHead;
  EXPECT_EQ(GgufFile(folder_ / "m.gguf").get("token_embd.weight").dtype,
            in_head ? DType::kQ4_0 : DType::kQ8_0)
      << "8 bits do not become 4";
}

INSTANTIATE_TEST_SUITE_P(Storages, PackedEmbeddingExport,
                         ::testing::Values(EmbeddingStorage::kInt8, EmbeddingStorage::kHead),
                         [](const auto& test) {
                           return test.param == EmbeddingStorage::kInt8 ? "int8" : "head";
                         });

}  // namespace
}  // namespace nibble
