// Checkpoints that other tools quantized (fixtures/make_quantized.py): logits against transformers'
// with the weights that those tools' integers stand for; and what is said of broken ones.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/logits.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/models/inspection.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using test::every_row;
using test::expect_close_logits;
using test::Mode;
using test::reference_ids;
using test::Runner;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kQuantized = testing::test_file("models/fixtures/quantized");

class QuantizedCheckpoint : public ::testing::TestWithParam<const char*> {};

TEST_P(QuantizedCheckpoint, GivesTheLogitsOfItsWeights) {
  const fs::path folder = kQuantized / GetParam();
  const std::vector<float> expected = NpyFile(folder / "logits_f32.npy").floats();
  for (const KernelSet* kernels : supported_kernels()) {
    for (const bool f32 : {true, false}) {
      SCOPED_TRACE(std::string(kernels->name) + (f32 ? " f32" : " bf16"));
      const auto activations = f32 ? ActivationType::kF32 : ActivationType::kBF16;
      Runner model(folder,
                   Mode{.kernels = kernels, .dtype = DType::kF32, .activations = activations});
      const auto vocab = static_cast<std::size_t>(model.spec().vocab);
      const std::vector<std::int32_t> ids = reference_ids(40, model.spec().vocab);
      for (const std::size_t batch : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
        expect_close_logits(every_row(model.logits(ids, batch), vocab, 4, 5), expected, vocab,
                            f32 ? test::kF32Limit : test::kBF16RandomLimit,
                            f32 ? test::kF32Margin : test::kBF16Margin);
      }
    }
  }
}

// int8 activations of other kernel sets give the same bits, and logits that are near the others.
TEST_P(QuantizedCheckpoint, Int8Activations) {
  const fs::path folder = kQuantized / GetParam();
  const std::vector<float> expected = NpyFile(folder / "logits_f32.npy").floats();
  for (const KernelSet* kernels : supported_kernels()) {
    Runner model(
        folder,
        Mode{.kernels = kernels, .dtype = DType::kF32, .activations = ActivationType::kInt8});
    const auto vocab = static_cast<std::size_t>(model.spec().vocab);
    const std::vector<float> found =
        every_row(model.logits(reference_ids(40, model.spec().vocab)), vocab, 4, 5);
    double squares = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      squares += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    }
    const double rms = std::sqrt(squares / static_cast<double>(found.size()));
    EXPECT_LT(rms, 0.1 * test::standard_deviation(expected)) << kernels->name;
  }
}

// 8-bit floats become floats, whatever the activations.
class Float8Checkpoint : public ::testing::TestWithParam<const char*> {};

TEST_P(Float8Checkpoint, GivesTheLogitsOfItsWeights) {
  const fs::path folder = kQuantized / GetParam();
  Runner model(folder, Mode{.dtype = DType::kF32, .activations = ActivationType::kF32});
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  const std::vector<float> expected = NpyFile(folder / "logits_f32.npy").floats();
  expect_close_logits(every_row(model.logits(reference_ids(40, model.spec().vocab)), vocab, 4, 5),
                      expected, vocab, test::kF32Limit, test::kF32Margin);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Float8Checkpoint,
                         ::testing::Values("ct_fp8_row", "ct_fp8_tensor", "fp8_block",
                                           "fp8_divides", "modelopt_fp8", "modelopt_block"),
                         [](const auto& test_case) { return std::string(test_case.param); });

// All tensors of the file are some parameter's, but those of activations.
TEST(ForeignInspection, KnowsEveryTensor) {
  for (const auto& entry : fs::directory_iterator(kQuantized)) {
    SCOPED_TRACE(entry.path().filename().string());
    for (const std::string& name : inspect(Checkpoint(entry.path()), DType::kBF16).unused) {
      EXPECT_TRUE(name.ends_with(".input_scale")) << name;
    }
  }
}

// Whole checkpoints that the tools wrote, where there are such: tokens.txt and
// reference_logits.npy.
TEST(OtherToolsSlow, SharedCheckpoints) {
  const char* shared = std::getenv("NIBBLE_SHARED");
  const fs::path root = shared == nullptr ? "" : fs::path(shared) / "reports/checkpoints";
  if (shared == nullptr || !fs::exists(root)) {
    GTEST_SKIP() << "NIBBLE_SHARED names no folder of larger test files";
  }
  for (const auto& entry : fs::directory_iterator(root)) {
    SCOPED_TRACE(entry.path().filename().string());
    Runner model(entry.path(), Mode{.dtype = DType::kF32, .activations = ActivationType::kF32});
    if (!fs::exists(entry.path() / "reference_logits.npy")) continue;
    std::vector<std::int32_t> ids;
    std::string text = ::nibble::testing::read_file(entry.path() / "tokens.txt");
    std::replace(text.begin(), text.end(), ',', ' ');
    std::istringstream numbers(text);
    for (std::int32_t id; numbers >> id;) ids.push_back(id);
    const std::vector<float> expected = NpyFile(entry.path() / "reference_logits.npy").floats();
    const std::vector<float> found = model.logits(ids);
    ASSERT_EQ(found.size(), expected.size());
    double squares = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      squares += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    }
    const double rms = std::sqrt(squares / static_cast<double>(found.size()));
    EXPECT_LT(rms, 1e-5 * test::standard_deviation(expected));
  }
}

TEST_P(QuantizedCheckpoint, ThreadsDoNotChangeABit) {
  const auto logits = [](int threads) {
    return Runner(kQuantized / GetParam(), Mode{.threads = threads}).logits(reference_ids(40, 67));
  };
  EXPECT_EQ(logits(3), logits(1));
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, QuantizedCheckpoint,
    ::testing::Values("awq_g32", "awq_row", "gptq4_g32_act", "gptq4_row_sym_v2", "gptq4_g16",
                      "gptq3_g32", "gptq3_g32_act", "gptq8_g32_act", "gptq2_g64", "ct_w4_g32",
                      "ct_w4_g32_asym", "ct_w4_channel_f32", "ct_w3_g32_asym", "ct_w8_g32",
                      "ct_w8a8", "gptq3_words", "gptq3_words_untold", "gptq3_planes",
                      "gptq5_planes", "gptq6_planes", "gptq7_planes", "ar_gptq_mixed", "ar_w4_asym",
                      "ar_awq", "awq_gemv", "awq8_g32", "ct_w8_tensor", "ct_w8_tensor_asym",
                      "ct_w8_embedding", "gptq4_embedding"),
    [](const auto& test_case) { return std::string(test_case.param); });

/// A copy of a fixture whose config and tensors a test changes.
class SpoiledQuantized : public ::testing::Test {
 protected:
  void take(const std::string& name) {
    config_ = read_json_file(kQuantized / name / "config.json");
    source_ = kQuantized / name / "model.safetensors";
  }
  Json& quantization() { return config_["quantization_config"]; }

  /// Writes the model; `without` is left out, `renamed` gets its shape with one more row.
  void load(const std::string& without = "", const std::string& reshaped = "") {
    write_file(folder_ / "config.json", config_.dump());
    const SafetensorsFile file(source_);
    std::vector<TensorDeclaration> declarations;
    for (const TensorEntry& entry : file.entries()) {
      if (entry.name == without) continue;
      std::vector<std::int64_t> shape = entry.view.shape;
      if (entry.name == reshaped) shape.insert(shape.begin(), 1);
      declarations.push_back({entry.name, entry.view.dtype, shape});
    }
    SafetensorsWriter writer(folder_ / "model.safetensors", declarations);
    for (const TensorEntry& entry : file.entries()) {
      if (entry.name != without) writer.append(entry.name, {entry.view.data, entry.view.bytes});
    }
    writer.commit();
    const Checkpoint checkpoint(folder_.path());
    ThreadPool pool(1);
    Compute compute(select_kernels(), pool);
    const Decoder decoder(checkpoint, compute, DType::kBF16);
  }

  TemporaryFolder folder_;
  fs::path source_;
  Json config_;
};

TEST_F(SpoiledQuantized, VersionsThatAreNotRead) {
  const auto refuses = [&](const char* name, const char* key, const Json& value,
                           const char* message) {
    take(name);
    quantization()[key] = value;
    EXPECT_ERROR(load(), AllOf(HasSubstr("config.json"), HasSubstr(message)));
  };
  refuses("awq_g32", "version", "gemv_fast",
          "\"version\" \"gemv_fast\" is not supported; supported: gemm, gemv");
  refuses("awq_g32", "bits", 3, "\"bits\" of AWQ must be 4 or 8, found 3");
  refuses("awq_gemv", "bits", 8, "\"bits\" of AWQ must be 4 in the layout \"gemv\", found 8");
  refuses("awq8_g32", "format", "marlin", "\"format\" \"marlin\" is not supported");
  refuses("awq_g32", "group_size", 0, "\"group_size\" must be -1 or more than 0");
  refuses("awq_g32", "backend", "llm-awq", "\"backend\" \"llm-awq\" is not supported");
  refuses("gptq3_g32", "checkpoint_format", "marlin", "\"marlin\" is not supported");
  refuses("gptq3_g32", "is_marlin_format", true, "is_marlin_format");
  refuses("gptq3_g32", "rotation", "hadamard", "\"rotation\" \"hadamard\" is not supported");
  refuses("gptq3_g32", "bits", 9, "\"bits\" must be an integer of 2 to 8, found 9");
  refuses("ar_w4_asym", "packing_format", "auto_round:llm_compressor", "auto_round:llm_compressor");
  refuses("ar_w4_asym", "data_type", "mx_fp", "\"data_type\" \"mx_fp\" is not supported");
  refuses("ar_w4_asym", "act_bits", 8, "\"act_bits\" 8 is not supported");
  refuses("ar_w4_asym", "rotation_config", {{"type", "hadamard"}}, "\"rotation_config\"");
  refuses("modelopt_fp8", "quant_algo", "NVFP4", "\"quant_algo\" \"NVFP4\" is not supported");
  refuses("modelopt_fp8", "quant_algo", nullptr, "\"quant_algo\" is missing");
  refuses("fp8_divides", "weight_scale_semantics", "log", "\"weight_scale_semantics\" \"log\"");
  refuses("fp8_block", "weight_block_size", 128, "\"weight_block_size\" must be two numbers");
  refuses("ct_w4_g32", "format", "nvfp4-pack-quantized", "\"nvfp4-pack-quantized\"");
  refuses("ct_w4_g32", "sparsity_config", {{"format", "sparse-24-bitmask"}}, "sparse-24-bitmask");
  refuses("ct_w4_g32", "transform_config", {{"config_groups", {{"R1", 1}}}}, "transform_config");
  refuses("ct_w4_g32", "config_groups", Json::object(), "\"config_groups\" has none for weights");
  refuses("ct_w4_g32", "quant_method", "bitsandbytes",
          "supported: nibble, awq, gptq, auto-round, compressed-tensors, fp8, modelopt");
  take("ct_w4_g32");
  quantization()["config_groups"]["group_0"]["weights"]["type"] = "float";
  EXPECT_ERROR(load(), HasSubstr("\"num_bits\" of floats must be 8, found 4"));
}

// A transform that is in the weights already is nothing to compute; any other is.
TEST_F(SpoiledQuantized, TransformsInTheWeights) {
  const auto transform = [](const char* location) -> Json {
    return {
        {"config_groups", {{"R1", {{"type", "hadamard"}, {"apply", {{{"location", location}}}}}}}}};
  };
  take("ct_w4_g32");
  for (const char* location : {"weight_input", "weight_output"}) {
    quantization()["transform_config"] = transform(location);
    EXPECT_NO_THROW(load());
  }
  for (const char* location : {"input", "q_attn"}) {
    quantization()["transform_config"] = transform(location);
    EXPECT_ERROR(load(), HasSubstr("a transform at \"" + std::string(location) + "\""));
  }
}

// What the tools' configs need not say.
TEST_F(SpoiledQuantized, DefaultsOfTheTools) {
  take("awq_g32");
  quantization().erase("bits");
  EXPECT_NO_THROW(load());
  for (const char* kernel : {"exllama", "ipex"}) {  // which read the same layout
    quantization()["version"] = kernel;
    EXPECT_NO_THROW(load());
  }
  quantization().erase("group_size");
  EXPECT_ERROR(load(), HasSubstr("a multiple of \"group_size\", 128"));
  take("ar_w4_asym");
  quantization().erase("bits");
  EXPECT_NO_THROW(load());
  take("ct_w4_g32");
  Json& weights = quantization()["config_groups"]["group_0"]["weights"];
  weights.erase("strategy");
  EXPECT_NO_THROW(load());
  weights.erase("num_bits");
  EXPECT_ERROR(load(), HasSubstr("weight_packed\" has shape [64, 8], expected [64, 16]"));
  take("fp8_block");
  quantization()["weight_block_size"] = "32x48";  // as compressed-tensors wrote them once
  EXPECT_NO_THROW(load());
  quantization()["weight_block_size"] = nullptr;
  EXPECT_ERROR(load(), HasSubstr("weight_scale_inv\" has shape [2, 2], expected [1, 1]"));
}

// Of several patterns the first in the alphabet, whatever the order of the groups.
TEST_F(SpoiledQuantized, PatternsThatOverlap) {
  take("ct_w4_g32");
  Json& groups = quantization()["config_groups"];
  Json other = groups["group_0"];
  other["weights"]["num_bits"] = 8;
  groups["group_0"]["targets"] = {"re:.*layers.*"};
  groups["group_1"] = other;
  groups["group_1"]["targets"] = {"re:.*proj"};
  EXPECT_NO_THROW(load());
  groups["group_1"]["targets"] = {"re:.*k_proj"};
  EXPECT_ERROR(load(), HasSubstr("k_proj.weight_packed\" has shape"));
}

TEST_F(SpoiledQuantized, GroupsThatAreNotOfWeightsAreLeftOut) {
  take("ct_w4_g32");
  quantization()["config_groups"]["group_1"] = {
      {"targets", {"LlamaAttention"}},
      {"weights", nullptr},
      {"input_activations", {{"num_bits", 8}, {"type", "float"}}}};
  EXPECT_NO_THROW(load());
}

// A tied head of its own beside an embedding that is quantized.
TEST_F(SpoiledQuantized, AnOwnHeadIsNotTied) {
  for (const char* name : {"ct_w8_embedding", "gptq4_embedding"}) {
    take(name);
    config_["tie_word_embeddings"] = true;
    load();
    EXPECT_FALSE(Checkpoint(folder_.path()).spec().tied_head);
  }
}

// Older versions and other tools keep what config.json says of quantization elsewhere.
TEST_F(SpoiledQuantized, ConfigsElsewhere) {
  take("ct_w4_g32");
  config_["compression_config"] = quantization();
  config_.erase("quantization_config");
  EXPECT_NO_THROW(load());
  const auto in_file = [&](const char* name, const char* file, bool with_method) {
    take(name);
    Json quantization = config_["quantization_config"];
    config_.erase("quantization_config");
    EXPECT_ERROR(load(), AllOf(HasSubstr("q_proj.weight\" is missing"), HasSubstr("\"qweight\""),
                               HasSubstr("a form that config.json does not explain")));
    if (!with_method) quantization.erase("quant_method");
    write_file(folder_ / file, quantization.dump());
    EXPECT_NO_THROW(load());
    fs::remove(folder_ / file);
  };
  in_file("gptq4_g32_act", "quantize_config.json", false);
  in_file("awq_g32", "quant_config.json", false);
  in_file("ar_w4_asym", "quantization_config.json", true);
  take("modelopt_fp8");
  config_.erase("quantization_config");
  EXPECT_ERROR(load(), HasSubstr("has dtype F8_E4M3, which config.json does not explain"));
  write_file(folder_ / "hf_quant_config.json",
             R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}})");
  EXPECT_NO_THROW(load());
  fs::remove(folder_ / "hf_quant_config.json");
  config_["quantization_config"] = {{"quant_library", "modelopt"}, {"quant_algo", "FP8"}};
  EXPECT_NO_THROW(load());
}

// The same tensors without the leading "model.", as where the model was saved without its head.
TEST_F(SpoiledQuantized, NamesWithoutTheirPrefix) {
  for (const char* name : {"awq_g32", "gptq4_g32_act", "ct_w4_g32"}) {
    take(name);
    const SafetensorsFile file(source_);
    std::vector<TensorDeclaration> declarations;
    const auto bare = [](const std::string& full) {
      return full.starts_with("model.") ? full.substr(6) : full;
    };
    for (const TensorEntry& entry : file.entries()) {
      declarations.push_back({bare(entry.name), entry.view.dtype, entry.view.shape});
    }
    SafetensorsWriter writer(folder_ / "bare.safetensors", declarations);
    for (const TensorEntry& entry : file.entries()) {
      writer.append(bare(entry.name), {entry.view.data, entry.view.bytes});
    }
    writer.commit();
    source_ = folder_ / "bare.safetensors";
    EXPECT_NO_THROW(load()) << name;
  }
}

TEST_F(SpoiledQuantized, PartsThatAreNotRight) {
  const std::string q = "model.layers.0.self_attn.q_proj";
  take("gptq4_g32_act");
  EXPECT_NO_THROW(load());
  EXPECT_ERROR(load(q + ".qzeros"), HasSubstr("tensor \"" + q + ".qzeros\" is missing"));
  EXPECT_ERROR(load(q + ".qweight"), HasSubstr(q));
  EXPECT_ERROR(load("", q + ".scales"), HasSubstr(q + ".scales\" has shape [1, 2, 64]"));
  EXPECT_ERROR(load("", q + ".g_idx"), HasSubstr(q + ".g_idx\" has shape [1, 64], expected [64]"));
  quantization()["group_size"] = 64;
  EXPECT_ERROR(load(), HasSubstr("has shape [2, 64], expected [1, 64]"));
  quantization()["group_size"] = -1;
  EXPECT_ERROR(load(), HasSubstr("has shape [2, 64], expected [1, 64]"));
  take("gptq4_g32_act");
  quantization()["bits"] = 8;
  EXPECT_ERROR(load(), HasSubstr("qweight\" has shape [8, 64], expected [16, 64]"));
  quantization()["dynamic"] = {{"-:lm_head", Json::object()}};  // the tensors decide then
  EXPECT_NO_THROW(load());
  take("ct_w4_g32");
  EXPECT_ERROR(load(q + ".weight_scale"), HasSubstr("weight_scale\" is missing"));
  take("awq_g32");
  EXPECT_ERROR(load("", q + ".qweight"), HasSubstr("qweight\" has shape [1, 64, 8], expected [64"));
}

TEST_F(SpoiledQuantized, WhatContradictsItself) {
  take("awq_g32");
  quantization()["group_size"] = 33;  // as many groups as with 32, which end elsewhere
  EXPECT_ERROR(load(),
               HasSubstr("q_proj\": 64 inputs, AWQ needs a multiple of \"group_size\", 33"));
  take("ct_w4_g32_asym");
  Json& group = quantization()["config_groups"]["group_0"];
  group["weights"]["symmetric"] = true;
  EXPECT_ERROR(load(), HasSubstr("\"weight_zero_point\" holds numbers other than 0"));
  group["weights"]["symmetric"] = false;
  EXPECT_NO_THROW(load());
  group["targets"] = "Linear";
  EXPECT_ERROR(load(), HasSubstr("\"targets\" must be a list of strings"));
}

TEST_F(SpoiledQuantized, GroupsThatAreNotThere) {
  take("gptq4_g32_act");
  const SafetensorsFile file(source_);
  // The order of one module with a group that is not there.
  std::string bytes = ::nibble::testing::read_file(source_);
  const TensorView& order = file.get("model.layers.0.mlp.up_proj.g_idx");
  const auto at = static_cast<std::size_t>(order.data - file.file().bytes().data());
  bytes[at] = 2;
  write_file(folder_ / "spoiled.safetensors", bytes);
  source_ = folder_ / "spoiled.safetensors";
  EXPECT_ERROR(load(), HasSubstr("module \"model.layers.0.mlp.up_proj\": \"g_idx\" names group 2, "
                                 "there are 2"));
}

}  // namespace
}  // namespace nibble
