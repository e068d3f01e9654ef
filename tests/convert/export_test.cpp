// Exports read back: the same weights give the same logits, and packed layers keep their integers.
#include "nibble/convert/export.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/logits.h"
#include "nibble/convert/parameter_reader.h"
#include "nibble/formats/gguf.h"
#include "nibble/formats/safetensors.h"
#include "nibble/quant/pipeline.h"
#include "nibble/weights/dequantize.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

const fs::path kModels = testing::test_file("models/fixtures");
const fs::path kStories = testing::data_file("stories260K");

ExportReport to_hf(const fs::path& model, const fs::path& out, DType dtype = DType::kBF16) {
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  return export_hugging_face(Checkpoint(model), compute, dtype, out, false);
}

ExportReport to_gguf(const fs::path& model, const fs::path& out,
                     std::optional<DType> type = std::nullopt) {
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  return export_gguf(Checkpoint(model), compute, type, out, false);
}

void quantize(const fs::path& model, const fs::path& out, const QuantizeOptions& options) {
  const Checkpoint checkpoint(model);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  quantize_model(checkpoint, plan_quantization(checkpoint.spec(), options), compute, {.path = out});
}

std::vector<float> logits(const fs::path& model, DType dtype = DType::kBF16) {
  test::Runner runner(model, {.dtype = dtype});
  return runner.logits(test::reference_ids(20, runner.spec().vocab));
}

double difference(const std::vector<float>& found, const std::vector<float>& expected) {
  double squares = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    squares += std::pow(static_cast<double>(found[i]) - static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(squares / static_cast<double>(found.size())) /
         test::standard_deviation(expected);
}

class RoundTrip : public ::testing::TestWithParam<const char*> {};

// Llama 3's scaling goes through factors as float32, whose last bits differ.
TEST_P(RoundTrip, FolderAndGgufAndFolderAgainAreTheSameModel) {
  const TemporaryFolder folder;
  const fs::path model = kModels / GetParam();
  to_gguf(model, folder / "first.gguf", DType::kBF16);
  to_hf(folder / "first.gguf", folder / "hf");
  to_gguf(folder / "hf", folder / "second.gguf", DType::kBF16);
  // Integers of Q8_0 run as they are, and are rounded to bfloat16 on the way out.
  const Checkpoint source(model);
  const bool integers = source.foreign_weight(source.spec().linears().front()).has_value();
  const double limit = integers ? test::kBF16RandomLimit : 1e-6;
  const std::vector<float> expected = logits(model);
  const std::vector<float> first = logits(folder / "first.gguf");
  EXPECT_LT(difference(first, expected), limit);
  EXPECT_LT(difference(logits(folder / "hf"), expected), limit);
  EXPECT_LT(difference(logits(folder / "second.gguf"), first), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Models, RoundTrip,
                         ::testing::Values("tied_f32", "untied_gqa", "biases_f16", "rope_linear",
                                           "rope_llama3", "head_dim_sharded", "architecture_gemma",
                                           "architecture_qwen3", "architecture_mistral_no_window",
                                           "gguf_f32_biases/model.gguf",
                                           "gguf_mixed_gpt2/model.gguf",
                                           "gguf_rope_freqs_llama/model.gguf"));

// Qwen2's fixtures have windows, which GGUF has no place for.
TEST(ExportGguf, Qwen2WithoutItsWindows) {
  const TemporaryFolder folder;
  const fs::path source = kModels / "architecture_qwen2_window";
  const ExportReport report = to_gguf(source, folder / "windows.gguf", DType::kBF16);
  EXPECT_THAT(report.notes, Contains(HasSubstr("attention window")));
  fs::copy(source, folder / "hf");
  Json config = read_json_file(folder / "hf/config.json");
  config["use_sliding_window"] = false;
  config.erase("layer_types");
  testing::write_file(folder / "hf/config.json", config.dump());
  EXPECT_EQ(logits(folder / "windows.gguf"), logits(folder / "hf"));
}

TEST(ExportHuggingFace, OfEveryArchitecture) {
  for (const char* name :
       {"architecture_opt", "architecture_opt_post_norm", "architecture_qwen2_window"}) {
    const TemporaryFolder folder;
    to_hf(kModels / name, folder / "hf");
    EXPECT_EQ(logits(folder / "hf"), logits(kModels / name)) << name;
  }
  const TemporaryFolder folder;
  EXPECT_ERROR(to_gguf(kModels / "architecture_opt", folder / "x.gguf"),
               HasSubstr("GGUF has no architecture for OPTForCausalLM"));
}

TEST(ExportHuggingFace, NamesLlama3ScalingAndSpecialIds) {
  const TemporaryFolder folder;
  to_hf(kModels / "gguf_rope_freqs_llama/model.gguf", folder / "hf", DType::kF16);
  const Json config = read_json_file(folder / "hf/config.json");
  EXPECT_EQ(config["rope_scaling"]["rope_type"], "llama3");
  EXPECT_NEAR(config["rope_scaling"]["factor"].get<double>(), 32.0, 1e-4);
  EXPECT_EQ(config["torch_dtype"], "float16");
  const Json generation = read_json_file(folder / "hf/generation_config.json");
  EXPECT_EQ(generation["bos_token_id"], 1);
  EXPECT_EQ(generation["eos_token_id"], 2);
  const std::string text = "Once upon a time, Zoë had 3 cats.";
  EXPECT_EQ(load_tokenizer(folder / "hf").encode(text),
            load_tokenizer(kModels / "gguf_rope_freqs_llama/model.gguf").encode(text));
}

// A folder's three ends and its tokenizer's own become GGUF's; those above that, too.
TEST(ExportGguf, KeepsEveryEndOfAText) {
  const TemporaryFolder folder;
  fs::copy(kStories, folder / "hf");
  const auto ends = [&](const char* eos) {
    testing::write_file(folder / "hf/generation_config.json",
                        std::string(R"({"eos_token_id": )") + eos + "}");
    fs::remove(folder / "m.gguf");
    const ExportReport report = to_gguf(folder / "hf", folder / "m.gguf");
    EXPECT_EQ(report.notes.empty(), std::string(eos) != "[2, 261, 262, 263, 264]");
    const Checkpoint exported(folder / "m.gguf");
    EXPECT_EQ(exported.load_tokenizer().eos_id(), 2);  // what its chat template writes
    return exported.spec().eos;
  };
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(ends("2"), Ids{2});
  EXPECT_EQ(ends("261"), (Ids{2, 261}));
  EXPECT_EQ(ends("[261, 2, 262]"), (Ids{2, 261, 262}));
  EXPECT_EQ(ends("[2, 261, 262, 263, 264]"), (Ids{2, 261, 262, 263, 264}));
  to_hf(folder / "m.gguf", folder / "again");
  EXPECT_EQ(Checkpoint(folder / "again").spec().eos, (Ids{2, 261, 262, 263, 264}));
}

TEST(ExportGguf, NamesAreUtf8) {
  const TemporaryFolder folder;
  const std::string name = "mod\xff\x65l";
  fs::copy(kStories, folder / name);
  to_gguf(folder / name, folder / "m.gguf");
  EXPECT_EQ(GgufFile(folder / "m.gguf").get_string("general.name"), "mod\uFFFDel");
}

TEST(ExportHuggingFace, UntiesAHeadThatIsPackedOnItsOwn) {
  const TemporaryFolder folder;
  quantize(kStories, folder / "w4", {.bits = 4, .group_size = 32});
  const ExportReport report = to_hf(folder / "w4", folder / "hf");
  ASSERT_EQ(report.notes.size(), 1u);
  const Checkpoint checkpoint(folder / "hf");
  EXPECT_FALSE(checkpoint.spec().tied_head);
  EXPECT_FALSE(checkpoint.is_quantized());
  // Weights of 4 bits times a bfloat16 scale are rounded to bfloat16, as prefill does.
  EXPECT_LT(difference(logits(folder / "hf"), logits(folder / "w4")), test::kBF16Limit);
}

class PackedToGguf : public ::testing::TestWithParam<int> {};

TEST_P(PackedToGguf, KeepsTheIntegers) {
  const TemporaryFolder folder;
  quantize(kStories, folder / "packed", {.bits = GetParam(), .group_size = 64});
  const ExportReport report = to_gguf(folder / "packed", folder / "out.gguf");
  // What is rounded is zero * scale, to 11 bits.
  for (const WrittenTensor& tensor : report.tensors) EXPECT_LT(tensor.error.relative(), 5e-4);
  const GgufFile file(folder / "out.gguf");
  EXPECT_EQ(file.get("blk.0.attn_q.weight").dtype, DType::kQ4_1);
  EXPECT_EQ(file.get("output.weight").dtype, DType::kQ4_1);
  EXPECT_EQ(file.get("token_embd.weight").dtype, DType::kBF16);
  EXPECT_EQ(file.get("output_norm.weight").dtype, DType::kF32);
  EXPECT_LT(difference(logits(folder / "out.gguf", DType::kF32), logits(folder / "packed")), 2e-3);
}

INSTANTIATE_TEST_SUITE_P(Bits, PackedToGguf, ::testing::Values(3, 4));

TEST(ExportGguf, TypesAndWhereTheyDoNotFit) {
  const TemporaryFolder folder;
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ4_K, DType::kF16}) {
    const std::string name = std::string(dtype_name(type)) + ".gguf";
    to_gguf(kStories, folder / name, type);
    // stories260K: 64 features, so that blocks of 256 fit nowhere.
    const GgufFile file(folder / name);
    EXPECT_EQ(file.get("blk.1.attn_q.weight").dtype, type == DType::kQ4_K ? DType::kQ4_1 : type);
    EXPECT_EQ(file.get("token_embd.weight").dtype,
              type == DType::kF16 ? DType::kF16 : DType::kQ8_0);
    const double limit = type == DType::kF16 ? 0.02 : type == DType::kQ8_0 ? 0.1 : 0.8;
    EXPECT_LT(difference(logits(folder / name), logits(kStories)), limit) << name;
  }
}

TEST(ExportGguf, Q4_0IsQ4_1WithTheSameNumbers) {
  const TemporaryFolder folder;
  to_gguf(kStories, folder / "q4_0.gguf", DType::kQ4_0);
  to_gguf(folder / "q4_0.gguf", folder / "q4_1.gguf");
  const GgufFile from(folder / "q4_0.gguf");
  const GgufFile to(folder / "q4_1.gguf");
  for (const char* name : {"blk.0.attn_q.weight", "blk.3.ffn_up.weight"}) {
    EXPECT_EQ(to.get(name).dtype, DType::kQ4_1);
    std::vector<float> expected(static_cast<std::size_t>(from.get(name).elements()));
    std::vector<float> found(expected.size());
    dequantize_rows(from.get(name), 0, from.get(name).rows(), expected.data());
    dequantize_rows(to.get(name), 0, to.get(name).rows(), found.data());
    EXPECT_EQ(found, expected) << name;
  }
}

TEST(ExportGguf, RowsThatAreNotBlocksStayBfloat16) {
  const TemporaryFolder folder;
  const ExportReport report = to_gguf(kModels / "untied_gqa", folder / "x.gguf", DType::kQ8_0);
  EXPECT_EQ(GgufFile(folder / "x.gguf").get("blk.0.attn_q.weight").dtype, DType::kBF16);  // 24 wide
  EXPECT_THAT(report.notes, Contains(HasSubstr("not whole blocks of Q8_0")));
}

TEST(ExportGguf, RefusesAndKeeps) {
  const TemporaryFolder folder;
  testing::write_file(folder / "there.gguf", "x");
  EXPECT_ERROR(to_gguf(kStories, folder / "there.gguf"), HasSubstr("--force"));
  EXPECT_EQ(testing::read_file(folder / "there.gguf"), "x");
  fs::copy(kModels / "gguf_f32_biases/model.gguf", folder / "model.gguf");
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  EXPECT_ERROR(export_gguf(Checkpoint(folder / "model.gguf"), compute, DType::kBF16,
                           folder / "model.gguf", true),
               HasSubstr("would replace the model"));
}

// Checkpoints of other tools: the numbers that their integers stand for.
class OtherTools : public ::testing::TestWithParam<const char*> {};

TEST_P(OtherTools, BecomeFoldersAndGguf) {
  const TemporaryFolder folder;
  const fs::path model = kModels / "quantized" / GetParam();
  to_hf(model, folder / "hf");
  to_gguf(model, folder / "x.gguf");
  const std::vector<float> expected = logits(model, DType::kF32);
  EXPECT_LT(difference(logits(folder / "hf"), expected), test::kBF16RandomLimit);
  EXPECT_LT(difference(logits(folder / "x.gguf", DType::kF32), expected), test::kBF16RandomLimit);
  EXPECT_FALSE(Checkpoint(folder / "hf").is_quantized());
}

INSTANTIATE_TEST_SUITE_P(Formats, OtherTools,
                         ::testing::Values("awq_g32", "awq_row", "gptq3_g32_act", "gptq4_g16",
                                           "gptq8_g32_act", "ct_w4_channel_f32", "ct_w4_g32_asym",
                                           "ct_w8a8", "awq8_g32", "ct_w8_embedding",
                                           "gptq4_embedding", "fp8_block", "fp8_divides"));

TEST(ExportAwq, GivesBackWhatItRead) {
  const TemporaryFolder folder;
  const fs::path model = kModels / "quantized/awq_g32";
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  export_awq(Checkpoint(model), compute, folder / "awq", false);
  const SafetensorsModel from(model);
  const SafetensorsModel to(folder / "awq");
  for (const char* part : {".qweight", ".qzeros", ".scales"}) {
    const std::string name = std::string("model.layers.0.mlp.up_proj") + part;
    const TensorView& expected = from.get(name);
    ASSERT_EQ(to.get(name).shape, expected.shape) << name;
    EXPECT_EQ(std::memcmp(to.get(name).data, expected.data, expected.bytes), 0) << name;
  }
  EXPECT_LT(difference(logits(folder / "awq", DType::kF32), logits(model, DType::kF32)), 1e-3);
}

// AutoAWQ's layout, told here once more: word (input, c) of qweight holds output 8 c + kOrder[i] in
// bits 4 i; weight = (q - zero) * scale.
TEST(ExportAwq, HoldsTheSameIntegersAndScales) {
  constexpr std::array<std::int64_t, 8> kOrder = {0, 2, 4, 6, 1, 3, 5, 7};
  const TemporaryFolder folder;
  quantize(kModels / "gguf_mixed_gpt2/model.gguf", folder / "w4", {.bits = 4, .group_size = 64});
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const Checkpoint source(folder / "w4");
  export_awq(source, compute, folder / "awq", false);
  const SafetensorsModel tensors(folder / "awq");
  const std::string name = "model.layers.0.mlp.down_proj";
  const std::vector<StoredParameter> parameters = stored_parameters(source);
  const StoredParameter& parameter = *std::find_if(
      parameters.begin(), parameters.end(),
      [&](const StoredParameter& candidate) { return candidate.name == name + ".weight"; });
  const LinearSpec linear = parameter.module.linear();
  const auto* qweight = reinterpret_cast<const std::uint32_t*>(tensors.get(name + ".qweight").data);
  const auto* qzeros = reinterpret_cast<const std::uint32_t*>(tensors.get(name + ".qzeros").data);
  const auto* scales = reinterpret_cast<const Float16*>(tensors.get(name + ".scales").data);
  EXPECT_EQ(tensors.get(name + ".qweight").shape,
            (std::vector<std::int64_t>{linear.in, linear.out / 8}));
  const ParameterReader reader(source, compute, parameter);
  const std::int64_t group_size = 32;  // the hidden size is 32, so that all layers have that
  reader.visit(0, linear.out, [&](std::int64_t out, const ParameterRow& row) {
    const auto bits = std::find(kOrder.begin(), kOrder.end(), out % 8) - kOrder.begin();
    for (std::int64_t in = 0; in < linear.in; ++in) {
      const std::int64_t group = in / group_size;
      const auto q = (qweight[in * linear.out / 8 + out / 8] >> (4 * bits)) & 15u;
      const auto zero = (qzeros[group * linear.out / 8 + out / 8] >> (4 * bits)) & 15u;
      const float scale = to_float(scales[group * linear.out + out]);
      const float weight = (static_cast<float>(q) - static_cast<float>(zero)) * scale;
      ASSERT_EQ(weight, row.values[static_cast<std::size_t>(in)]) << out << " " << in;
    }
  });
  const Json config = read_json_file(folder / "awq/config.json");
  EXPECT_EQ(config["quantization_config"]["group_size"], 32);
  EXPECT_EQ(config["quantization_config"]["modules_to_not_convert"], Json::array({"lm_head"}));
  EXPECT_EQ(tensors.get("lm_head.weight").dtype, DType::kF16);
}

TEST(ExportAwq, RefusesOtherBits) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  quantize(kStories, folder / "w3", {.bits = 3, .group_size = 32});
  EXPECT_ERROR(export_awq(Checkpoint(folder / "w3"), compute, folder / "awq", false),
               AllOf(HasSubstr("model.layers.0.self_attn.q_proj"), HasSubstr("has 3 bits")));
  EXPECT_ERROR(export_awq(Checkpoint(kStories), compute, folder / "awq", false),
               HasSubstr("has no layers of 4 bits"));
  EXPECT_FALSE(fs::exists(folder / "awq"));
}

}  // namespace
}  // namespace nibble
