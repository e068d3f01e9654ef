// quantize_model end to end: what the folder holds, and that the model in it computes what its
// dequantized weights say.
#include "nibble/quant/pipeline.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "models/logits.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/models/weight_loader.h"
#include "quant/dequantized_model.h"
#include "quant/fixtures.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::read_file;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

QuantizeReport quantize(const fs::path& model, const fs::path& out,
                        const QuantizeOptions& options = {}, bool replace = false,
                        int threads = 2) {
  const Checkpoint checkpoint(model);
  ThreadPool pool(threads);
  Compute compute(select_kernels(), pool);
  return quantize_model(checkpoint, plan_quantization(checkpoint.spec(), options), compute,
                        {.path = out, .replace = replace});
}

/// Goes on with what was left, and records after each tensor.
QuantizeReport resume(const fs::path& model, const fs::path& out) {
  const Checkpoint checkpoint(model);
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  return quantize_model(
      checkpoint, plan_quantization(checkpoint.spec(), {}), compute,
      {.path = out, .resumption = {.resume = true, .seconds_between_records = 0}});
}

void expect_same(const QuantizeReport& a, const QuantizeReport& b) {
  EXPECT_EQ(a.bytes_in, b.bytes_in);
  EXPECT_EQ(a.bytes_out, b.bytes_out);
  EXPECT_EQ(a.bits_per_weight, b.bits_per_weight);
  EXPECT_EQ(note_of(a.tensors), note_of(b.tensors));
}

LinearSpec linear_named(const ModelSpec& spec, const std::string& name) {
  for (const LinearSpec& linear : spec.linears()) {
    if (linear.name == name) return linear;
  }
  ADD_FAILURE() << name;
  return {};
}

/// What a packed layer of a folder holds.
struct Unpacked {
  std::vector<std::uint8_t> q;      // (rows, cols)
  std::vector<std::uint8_t> zeros;  // (rows, groups)
  std::vector<float> scales;        // (rows, groups)
};

Unpacked unpack(const Checkpoint& checkpoint, const std::string& name) {
  const WeightView view =
      checkpoint.packed_weight(linear_named(checkpoint.spec(), name)).value().view();
  IntegerBlock integers(view.cols, group_count(view));
  Unpacked out;
  for (std::int64_t row = 0; row < view.rows; ++row) {
    codec_of(view.format).unpack(view, row / kRowBlock, integers);
    const auto begin = integers.q.begin() + row % kRowBlock * view.cols;
    out.q.insert(out.q.end(), begin, begin + view.cols);
    for (std::int64_t group = 0; group < integers.groups; ++group) {
      const auto at = static_cast<std::size_t>(group * kRowBlock + row % kRowBlock);
      out.zeros.push_back(integers.zeros[at]);
      out.scales.push_back(integers.scales[at]);
    }
  }
  return out;
}

TEST(QuantizeStories, IsTheReferenceToTheLastBit) {
  const TemporaryFolder folder;
  quantize(kStories, folder / "out", {.group_size = 32});
  const Checkpoint checkpoint(folder / "out");
  for (const auto& [name, golden] :
       {std::pair("self_attn.q_proj", "q_proj"), std::pair("mlp.down_proj", "down_proj")}) {
    const Unpacked found = unpack(checkpoint, std::string("model.layers.0.") + name);
    const std::string prefix = kFixtures + "pergrp_" + golden + "_w4_g32_";
    EXPECT_EQ(found.q, NpyFile(prefix + "q.npy").bytes());
    EXPECT_EQ(found.zeros, NpyFile(prefix + "zero.npy").bytes());
    EXPECT_EQ(found.scales, NpyFile(prefix + "scale.npy").floats());
  }
}

TEST(QuantizeStories, Reports) {
  const TemporaryFolder folder;
  const QuantizeReport report = quantize(kStories, folder / "out", {.group_size = 64});
  ASSERT_EQ(report.tensors.size(), 5u * 7 + 1);
  EXPECT_EQ(report.tensors[0].name, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(report.tensors[0].shape, (std::vector<std::int64_t>{64, 64}));
  EXPECT_EQ(report.tensors.back().name, "lm_head.weight");
  for (const WrittenTensor& tensor : report.tensors) {
    EXPECT_EQ(tensor.bits, 4);
    EXPECT_EQ(tensor.group_size, 64);
    EXPECT_GT(tensor.error.relative(), 0.01) << tensor.name;
    EXPECT_LT(tensor.error.relative(), 0.2) << tensor.name;
  }
  EXPECT_DOUBLE_EQ(report.bits_per_weight, 4 + 20.0 / 64);
  EXPECT_EQ(report.bytes_out,
            static_cast<std::int64_t>(fs::file_size(folder / "out" / "model.safetensors")));
  const auto linears = 5 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 192);
  const auto others = 512 * 64 + 11 * 64;
  EXPECT_EQ(report.bytes_in, 2 * (linears + others + 512 * 64));  // the tied head is read again
  EXPECT_DOUBLE_EQ(report.file_bits_per_parameter,
                   8.0 * static_cast<double>(report.bytes_out) / (linears + others));
}

TEST(QuantizeStories, TakesEightBits) {
  const TemporaryFolder folder;
  const QuantizeReport report = quantize(kStories, folder / "out", {.bits = 8});
  const Checkpoint checkpoint(folder / "out");
  const WeightView view = checkpoint.packed_weight(checkpoint.spec().head).value().view();
  EXPECT_EQ(view.format, WeightFormat::kW8);
  EXPECT_EQ(report.tensors.back().bits, 8);
  EXPECT_EQ(report.tensors.back().group_size, 0);
  // Half a step of max / 127 at the most, a third of that in the mean, of normal weights whose
  // largest is about 3 deviations.
  EXPECT_LT(report.tensors.back().error.relative(), 3.0 / 127 / 2);
  EXPECT_GT(report.tensors.back().error.relative(), 1e-3);
}

/// How to quantize which model.
struct RunCase {
  const char* name;
  fs::path model;
  QuantizeOptions options;
};

class QuantizedRun : public ::testing::TestWithParam<RunCase> {};

TEST_P(QuantizedRun, GivesTheLogitsOfItsDequantizedWeights) {
  const TemporaryFolder folder;
  quantize(GetParam().model, folder / "packed", GetParam().options);
  testing::write_dequantized(folder / "packed", folder / "dense");
  for (const KernelSet* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    test::Runner packed(folder / "packed", {.kernels = kernels, .dtype = DType::kF32});
    test::Runner dense(folder / "dense", {.kernels = kernels, .dtype = DType::kF32});
    const std::vector<std::int32_t> ids = test::reference_ids(20, packed.spec().vocab);
    const auto vocab = static_cast<std::size_t>(packed.spec().vocab);
    const std::vector<float> expected = dense.logits(ids);
    for (const std::size_t batch : {std::size_t{0}, std::size_t{1}}) {
      test::expect_close_logits(packed.logits(ids, batch), expected, vocab, 2e-6, 1e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, QuantizedRun,
    ::testing::Values(
        RunCase{"stories_w4_g32", kStories, {.bits = 4, .group_size = 32}},
        RunCase{"stories_w3_g64", kStories, {.bits = 3, .group_size = 64}},
        RunCase{"stories_w3_g32_head_dense",
                kStories,
                {.bits = 3, .group_size = 32, .quantize_head = false}},
        RunCase{"stories_w8", kStories, {.bits = 8}},
        RunCase{"stories_f32_exclude",
                kStories,
                {.group_size = 32, .dtype = DType::kF32, .exclude = {"*.2.*", "*v_proj"}}},
        // 264 rows of the head: no multiple of 16. Untied.
        RunCase{"gguf_untied_w4", kModels / "gguf_mixed_gpt2/model.gguf", {.bits = 4}},
        RunCase{"gguf_untied_w8", kModels / "gguf_mixed_gpt2/model.gguf", {.bits = 8}},
        RunCase{"biases_w8", kModels / "biases_f16", {.bits = 8}},  // widths of 24 and 40
        RunCase{"gguf_untied_w3", kModels / "gguf_mixed_gpt2/model.gguf", {.bits = 3}},
        RunCase{"gguf_tied_w4_f16",
                kModels / "gguf_rope_freqs_llama/model.gguf",
                {.bits = 4, .dtype = DType::kF16}}),
    [](const auto& run) { return std::string(run.param.name); });

// Biases: their model's widths (24, 40) can only be packed by adding columns, so it is quantized
// with every layer excluded; what is kept dense must come out as it went in.
TEST(QuantizeDense, KeepsBiasesAndRowOrder) {
  for (const fs::path& model :
       {kModels / "biases_f16", kModels / "gguf_f32_biases" / "model.gguf",
        kModels / "architecture_opt", kModels / "architecture_opt_post_norm",
        kModels / "architecture_qwen3", kModels / "architecture_gemma"}) {
    const TemporaryFolder folder;
    quantize(model, folder / "out", {.dtype = DType::kF32, .exclude = {"*"}});
    test::Runner from(model, {.dtype = DType::kF32});
    test::Runner to(folder / "out", {.dtype = DType::kF32});
    const std::vector<std::int32_t> ids = test::reference_ids(20, from.spec().vocab);
    EXPECT_EQ(to.logits(ids), from.logits(ids)) << model;
    EXPECT_FALSE(Checkpoint(folder / "out").is_quantized());
  }
}

/// A model of hidden size 32 with biases, in float32, to spoil.
class OwnModel : public ::testing::Test {
 protected:
  OwnModel() {
    const std::string block = "model.layers.0.";
    add("model.embed_tokens.weight", {40, 32});
    add("model.norm.weight", {32});
    add("lm_head.weight", {40, 32});
    add(block + "input_layernorm.weight", {32});
    add(block + "post_attention_layernorm.weight", {32});
    for (const auto& [name, rows, cols] :
         {std::tuple("self_attn.q_proj", 32, 32), std::tuple("self_attn.k_proj", 32, 32),
          std::tuple("self_attn.v_proj", 32, 32), std::tuple("self_attn.o_proj", 32, 32),
          std::tuple("mlp.gate_proj", 64, 32), std::tuple("mlp.up_proj", 64, 32),
          std::tuple("mlp.down_proj", 32, 64)}) {
      add(block + name + ".weight", {rows, cols});
      add(block + name + ".bias", {rows});
    }
  }

  void write() {
    fs::create_directories(model_);
    write_file(model_ / "config.json", config_.dump());
    std::vector<TensorDeclaration> declarations;
    for (const auto& [name, tensor] : tensors_) {
      declarations.push_back({name, DType::kF32, tensor.first});
    }
    SafetensorsWriter writer(model_ / "model.safetensors", declarations);
    for (const auto& [name, tensor] : tensors_) {
      writer.append(name, std::as_bytes(std::span(tensor.second)));
    }
    writer.commit();
  }

  /// Files and folders beside the model.
  std::vector<std::string> others() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      if (entry.path() != model_) names.push_back(entry.path().filename().string());
    }
    return names;
  }

  TemporaryFolder folder_;
  fs::path model_ = folder_ / "model";
  fs::path out_ = folder_ / "out";
  Json config_ = {{"architectures", {"LlamaForCausalLM"}},
                  {"model_type", "llama"},
                  {"hidden_size", 32},
                  {"intermediate_size", 64},
                  {"num_hidden_layers", 1},
                  {"num_attention_heads", 2},
                  {"vocab_size", 40},
                  {"attention_bias", true},
                  {"mlp_bias", true},
                  {"dtype", "float32"},
                  {"some_key", "kept"}};
  std::map<std::string, std::pair<std::vector<std::int64_t>, std::vector<float>>> tensors_;

 private:
  void add(const std::string& name, std::vector<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i) {
      values.push_back(std::sin(0.7f * static_cast<float>(i + count)) * 0.5f);
    }
    tensors_[name] = {std::move(shape), std::move(values)};
  }
};

TEST_F(OwnModel, BiasesStayBesidePackedWeights) {
  write();
  quantize(model_, out_, {.dtype = DType::kF32});
  const SafetensorsModel written(out_);
  EXPECT_FALSE(written.contains("model.layers.0.mlp.up_proj.weight"));
  const TensorView& bias = written.get("model.layers.0.mlp.up_proj.bias");
  const auto* values = reinterpret_cast<const char*>(bias.data);
  const auto& expected = tensors_["model.layers.0.mlp.up_proj.bias"].second;
  EXPECT_EQ(std::string(values, bias.bytes),
            std::string(reinterpret_cast<const char*>(expected.data()), expected.size() * 4));
  testing::write_dequantized(out_, folder_ / "dense");
  const std::vector<std::int32_t> ids = test::reference_ids(12, 40);
  test::expect_close_logits(test::Runner(out_, {.dtype = DType::kF32}).logits(ids),
                            test::Runner(folder_ / "dense", {.dtype = DType::kF32}).logits(ids), 40,
                            2e-6, 1e-4);
}

TEST_F(OwnModel, ConfigSaysWhatWasDone) {
  write();
  quantize(model_, out_, {.bits = 3, .group_size = 64, .exclude = {"lm_head"}});
  const Json config = read_json_file(out_ / "config.json");
  EXPECT_EQ(config["torch_dtype"], "bfloat16");
  EXPECT_FALSE(config.contains("dtype"));
  EXPECT_EQ(config["some_key"], "kept");
  const Json& quantization = config["quantization_config"];
  EXPECT_EQ(quantization["quant_method"], "nibble");
  EXPECT_EQ(quantization["algorithm"], "pergrp");
  EXPECT_EQ(quantization["modules"].size(), 7u);
  EXPECT_EQ(quantization["modules"]["model.layers.0.mlp.down_proj"],
            (Json{{"bits", 3}, {"group_size", 64}}));
  EXPECT_EQ(quantization["modules"]["model.layers.0.mlp.up_proj"],
            (Json{{"bits", 3}, {"group_size", 32}}));
}

TEST_F(OwnModel, BytesDoNotDependOnThreads) {
  write();
  quantize(model_, out_, {}, false, 1);
  const std::string one = read_file(out_ / "model.safetensors");
  for (const int threads : {2, 3}) {
    quantize(model_, out_, {}, true, threads);
    EXPECT_TRUE(read_file(out_ / "model.safetensors") == one) << threads;
  }
}

TEST_F(OwnModel, RefusesWhatExistsUnlessTold) {
  write();
  quantize(model_, out_);
  EXPECT_ERROR(quantize(model_, out_), HasSubstr(out_.string()));
  EXPECT_NO_THROW(quantize(model_, out_, {.bits = 3}, true));
  EXPECT_EQ(
      read_json_file(out_ / "config.json")["quantization_config"]["modules"]["lm_head"]["bits"], 3);
  EXPECT_EQ(others(), std::vector<std::string>{"out"});
}

TEST_F(OwnModel, NeverReplacesTheModelItself) {
  write();
  for (const fs::path& out : {model_, model_ / "", folder_ / "model/../model"}) {
    EXPECT_ERROR(quantize(model_, out, {}, true), HasSubstr("replace the model"));
  }
  EXPECT_NO_THROW(Checkpoint{model_});
  EXPECT_TRUE(others().empty());
}

TEST_F(OwnModel, RefusesAQuantizedModel) {
  write();
  quantize(model_, out_);
  EXPECT_ERROR(quantize(out_, folder_ / "again"),
               AllOf(HasSubstr(out_.string()), HasSubstr("quantized already")));
}

TEST_F(OwnModel, FailureLeavesNothingAndKeepsTheOld) {
  write();
  quantize(model_, out_);
  const std::string before = read_file(out_ / "model.safetensors");
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    tensors_["lm_head.weight"].second[39 * 32 + 31] = bad;
    write();
    EXPECT_ERROR(
        quantize(model_, out_, {}, true),
        AllOf(HasSubstr(model_.string()), HasSubstr("lm_head.weight"), HasSubstr("not finite")));
    EXPECT_ERROR(quantize(model_, folder_ / "fresh"), HasSubstr("lm_head.weight"));
  }
  tensors_["lm_head.weight"].second[39 * 32 + 31] = 0.5f;
  tensors_.erase("model.norm.weight");
  write();
  EXPECT_ERROR(quantize(model_, folder_ / "fresh"), HasSubstr("model.norm.weight"));
  EXPECT_EQ(others(), std::vector<std::string>{"out"});
  EXPECT_TRUE(read_file(out_ / "model.safetensors") == before);
}

TEST_F(OwnModel, ResumesWhatAnErrorLeft) {
  const auto write_at_once = [&] {  // the source is not to look changed
    write();
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::last_write_time(model_ / name, {});
    }
  };
  write_at_once();
  const QuantizeReport whole = quantize(model_, folder_ / "whole");
  float& last = tensors_["lm_head.weight"].second.back();
  const float good = std::exchange(last, INFINITY);
  write_at_once();
  EXPECT_ERROR(resume(model_, out_), HasSubstr("not finite"));
  EXPECT_FALSE(fs::exists(out_));
  last = good;
  tensors_["model.layers.0.self_attn.q_proj.weight"].second[0] = 9;  // would show if it were read
  write_at_once();
  EXPECT_ERROR(quantize(model_, folder_ / "whole"), HasSubstr("exists already"));
  expect_same(resume(model_, out_), whole);
  for (const char* name : {"config.json", "model.safetensors"}) {
    EXPECT_TRUE(read_file(out_ / name) == read_file(folder_ / "whole" / name)) << name;
  }
  EXPECT_EQ(others().size(), 2u);
}

TEST(QuantizeStories, KilledAtAnyMomentAndResumedGivesTheSame) {
  const TemporaryFolder folder;
  const QuantizeReport whole = quantize(kStories, folder / "whole");
  for (const int milliseconds : {0, 1, 2, 4, 8, 16, 32, 64}) {
    const fs::path out = folder / std::to_string(milliseconds);
    const pid_t child = ::fork();
    if (child == 0) {
      resume(kStories, out);
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(1000 * milliseconds));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "it failed";
    if (!fs::exists(out)) expect_same(resume(kStories, out), whole);
    EXPECT_EQ(std::distance(fs::directory_iterator(out), {}),
              std::distance(fs::directory_iterator(folder / "whole"), {}));
    for (const auto& entry : fs::directory_iterator(folder / "whole")) {
      EXPECT_TRUE(read_file(out / entry.path().filename()) == read_file(entry.path()))
          << milliseconds << " ms, " << entry.path();
    }
    fs::remove_all(out);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  }
}

TEST_F(OwnModel, ADenseLayerMayHoldAnything) {
  tensors_["lm_head.weight"].second[0] = INFINITY;
  write();
  EXPECT_NO_THROW(quantize(model_, out_, {.quantize_head = false}));
}

TEST(QuantizeStories, CopiesTheTokenizer) {
  const TemporaryFolder folder;
  quantize(kStories, folder / "out");
  for (const char* name : {"tokenizer.model", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_TRUE(read_file(folder / "out" / name) == read_file(kStories / name)) << name;
  }
}

TEST(QuantizeStories, CopiesNamedChatTemplates) {
  const TemporaryFolder folder;
  fs::copy(kStories, folder / "model");
  for (const char* name : {"chat_templates/default.jinja", "additional_chat_templates/rag.jinja"}) {
    fs::create_directories((folder / "model" / name).parent_path());
    write_file(folder / "model" / name, name);
  }
  quantize(folder / "model", folder / "out");
  EXPECT_EQ(read_file(folder / "out/chat_templates/default.jinja"), "chat_templates/default.jinja");
  EXPECT_EQ(read_file(folder / "out/additional_chat_templates/rag.jinja"),
            "additional_chat_templates/rag.jinja");
}

TEST(QuantizeGguf, WritesTheTokenizerAndEndsOfText) {
  const std::string text = "Once upon a time, there was the cat and the dog.";
  for (const char* name : {"gguf_rope_freqs_llama", "gguf_mixed_gpt2"}) {
    const TemporaryFolder folder;
    const Checkpoint source(kModels / name / "model.gguf");
    quantize(source.path(), folder / "out");
    const Checkpoint result(folder / "out");
    EXPECT_TRUE(result.is_quantized());
    EXPECT_EQ(result.spec().eos, source.spec().eos);
    EXPECT_EQ(result.spec().bos, source.spec().bos);
    EXPECT_EQ(result.spec().architecture, "LlamaForCausalLM");
    const Tokenizer tokenizer = result.load_tokenizer();
    EXPECT_EQ(tokenizer.encode(text), source.load_tokenizer().encode(text)) << name;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, {.add_special = false})), text);
  }
}

}  // namespace
}  // namespace nibble
