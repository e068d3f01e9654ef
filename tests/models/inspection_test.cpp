#include "nibble/models/inspection.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>

#include "bench/tiny_model.h"
#include "models/architecture_configs.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/kernels/select.h"
#include "nibble/ops/profiler.h"
#include "nibble/quant/pipeline.h"
#include "nibble/runtime/model.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;
using testing::make_tiny_model;
using testing::TemporaryFolder;
using testing::tiny_config;

std::int64_t tensor_bytes(const std::filesystem::path& file) {
  std::int64_t bytes = 0;
  const SafetensorsFile tensors(file);
  for (const TensorEntry& entry : tensors.entries()) {
    bytes += static_cast<std::int64_t>(entry.view.bytes);
  }
  return bytes;
}

/// What the matrix products of a step of decode say that they read.
double bytes_read_by_a_token(const std::filesystem::path& path, DType dtype) {
  ThreadPool pool(1);
  Model model(path, pool, {.dtype = dtype});
  KvCache cache = model.make_cache(1);
  std::vector<float> logits(static_cast<std::size_t>(model.spec().vocab));
  Profiler profiler;
  model.compute().set_profiler(&profiler);
  model.forward_last(std::vector<std::int32_t>{1}, cache, logits.data());
  double bytes = 0;
  for (const OperatorRun& run : profiler.runs()) {
    if (run.name != std::string_view("attention")) bytes += run.bytes;
  }
  return bytes;
}

struct InspectionCase {
  RandomModelOptions options;
  bool tied;
};

class InspectionCases : public ::testing::TestWithParam<InspectionCase> {};

TEST_P(InspectionCases, SizesAreThoseOfFileAndDecoder) {
  const TemporaryFolder folder;
  Json config = tiny_config();
  config["tie_word_embeddings"] = GetParam().tied;
  const auto path = make_tiny_model(folder, GetParam().options, config);
  const Checkpoint checkpoint(path);
  const Inspection inspection = inspect(checkpoint, DType::kBF16);
  EXPECT_EQ(inspection.bytes, tensor_bytes(path / "model.safetensors"));
  EXPECT_TRUE(inspection.unused.empty());
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    EXPECT_DOUBLE_EQ(inspect(checkpoint, dtype).token.bytes, bytes_read_by_a_token(path, dtype));
  }
}

TEST_P(InspectionCases, ParametersOfATiedHeadCountOnce) {
  const TemporaryFolder folder;
  Json config = tiny_config();
  config["tie_word_embeddings"] = GetParam().tied;
  const Checkpoint checkpoint(make_tiny_model(folder, GetParam().options, config));
  const Inspection inspection = inspect(checkpoint, DType::kBF16);
  std::int64_t listed = 0;
  for (const StoredParameter& tensor : inspection.tensors) listed += tensor.count();
  const bool has_copy =
      GetParam().tied && GetParam().options.bits != 16 && GetParam().options.quantize_head;
  EXPECT_EQ(inspection.parameters, listed - (has_copy ? 203 * 64 : 0));
}

INSTANTIATE_TEST_SUITE_P(
    All, InspectionCases,
    ::testing::Values(InspectionCase{{.bits = 4}, true}, InspectionCase{{.bits = 3}, false},
                      InspectionCase{{.bits = 4, .group_size = 32, .quantize_head = false}, true},
                      InspectionCase{{.bits = 3, .quantize_head = false}, false},
                      InspectionCase{{.bits = 16}, true}, InspectionCase{{.bits = 16}, false}));

TEST(ModuleTree, ShowsProjectionsAsTheyAreComputed) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {}));
  const std::string tree = module_tree(checkpoint, ProjectionView::kAsOne);
  EXPECT_THAT(tree, HasSubstr("(self_attn): LlamaAttention(\n"
                              "          (qkv_proj): Linear(in_features=64, out_features=128 "
                              "(64 + 32 + 32), bias=True, bits=4, group_size=64)\n"
                              "          (o_proj): "));
  EXPECT_EQ(tree.find("(q_proj)"), std::string::npos);
  EXPECT_THAT(tree, HasSubstr("(0-2): 3 x LlamaDecoderLayer("));
}

TEST(ModuleTree, ProjectionsOfSeveralFormatsNameEach) {
  const TemporaryFolder folder;
  const Checkpoint dense(make_tiny_model(folder, {.bits = 16}));
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizePlan plan = plan_quantization(dense.spec(), {.exclude = {"*.v_proj"}});
  quantize_model(dense, plan, compute, {.path = folder / "mixed"});
  EXPECT_THAT(module_tree(Checkpoint(folder / "mixed"), ProjectionView::kAsOne),
              HasSubstr("(64 + 32 + 32), bias=True, bits=4, group_size=64; bits=4, group_size=64; "
                        "bits=16, dtype=BF16)"));
}

TEST(ModuleTree, LooksAsInPyTorch) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {.quantize_head = false}));
  EXPECT_EQ(module_tree(checkpoint), R"(LlamaForCausalLM(
  (model): LlamaModel(
    (embed_tokens): Embedding(203, 64)
    (layers): ModuleList(
      (0-2): 3 x LlamaDecoderLayer(
        (self_attn): LlamaAttention(
          (q_proj): Linear(in_features=64, out_features=64, bias=True, bits=4, group_size=64)
          (k_proj): Linear(in_features=64, out_features=32, bias=True, bits=4, group_size=64)
          (v_proj): Linear(in_features=64, out_features=32, bias=True, bits=4, group_size=64)
          (o_proj): Linear(in_features=64, out_features=64, bias=True, bits=4, group_size=64)
        )
        (mlp): LlamaMLP(
          (gate_proj): Linear(in_features=64, out_features=96, bias=False, bits=4, group_size=64)
          (up_proj): Linear(in_features=64, out_features=96, bias=False, bits=4, group_size=64)
          (down_proj): Linear(in_features=96, out_features=64, bias=False, bits=4, group_size=32)
        )
        (input_layernorm): LlamaRMSNorm((64,), eps=1e-05)
        (post_attention_layernorm): LlamaRMSNorm((64,), eps=1e-05)
      )
    )
    (norm): LlamaRMSNorm((64,), eps=1e-05)
  )
  (lm_head): Linear(in_features=64, out_features=203, bias=False, bits=16, dtype=BF16, tied to the embedding)
))");
}

TEST(ModuleTree, ShowsWhatIsNotLlama) {
  const TemporaryFolder folder;
  const Json config = testing::opt_config({{"word_embed_proj_dim", 32}, {"enable_bias", false}});
  const Checkpoint checkpoint(make_tiny_model(folder, {.bits = 16}, config));
  EXPECT_EQ(module_tree(checkpoint), R"(OPTForCausalLM(
  (model): OPTModel(
    (decoder): OPTDecoder(
      (embed_tokens): Embedding(101, 32)
      (embed_positions): OPTLearnedPositionalEmbedding(66, 64)
      (project_in): Linear(in_features=32, out_features=64, bias=False, bits=16, dtype=BF16)
      (layers): ModuleList(
        (0-1): 2 x OPTDecoderLayer(
          (self_attn): OPTAttention(
            (q_proj): Linear(in_features=64, out_features=64, bias=False, bits=16, dtype=BF16)
            (k_proj): Linear(in_features=64, out_features=64, bias=False, bits=16, dtype=BF16)
            (v_proj): Linear(in_features=64, out_features=64, bias=False, bits=16, dtype=BF16)
            (out_proj): Linear(in_features=64, out_features=64, bias=False, bits=16, dtype=BF16)
          )
          (fc1): Linear(in_features=64, out_features=96, bias=False, bits=16, dtype=BF16)
          (fc2): Linear(in_features=96, out_features=64, bias=False, bits=16, dtype=BF16)
          (self_attn_layer_norm): LayerNorm((64,), eps=1e-05, elementwise_affine=True)
          (final_layer_norm): LayerNorm((64,), eps=1e-05, elementwise_affine=True)
        )
      )
      (final_layer_norm): LayerNorm((64,), eps=1e-05, elementwise_affine=True)
      (project_out): Linear(in_features=64, out_features=32, bias=False, bits=16, dtype=BF16)
    )
  )
  (lm_head): Linear(in_features=32, out_features=101, bias=False, bits=16, dtype=BF16, tied to the embedding)
))");
}

TEST(Inspection, CountsAllOfEveryArchitecture) {
  for (const Json& config : testing::architecture_configs()) {
    for (const int bits : {16, 4}) {
      const TemporaryFolder folder;
      const auto path = make_tiny_model(folder, {.bits = bits, .quantize_head = false}, config);
      const Checkpoint checkpoint(path);
      const Inspection inspection = inspect(checkpoint, DType::kBF16);
      EXPECT_EQ(inspection.bytes, tensor_bytes(path / "model.safetensors"));
      EXPECT_TRUE(inspection.unused.empty());
      std::int64_t listed = 0;
      for (const StoredParameter& tensor : inspection.tensors) listed += tensor.count();
      EXPECT_EQ(inspection.parameters, listed);
      EXPECT_DOUBLE_EQ(inspection.token.bytes, bytes_read_by_a_token(path, DType::kBF16));
    }
  }
}

TEST(ModuleTree, BlocksThatDifferStandApart) {
  const TemporaryFolder folder;
  const Checkpoint dense(make_tiny_model(folder, {.bits = 16}));
  ThreadPool pool(1);
  Compute compute(select_kernels(), pool);
  const QuantizePlan plan =
      plan_quantization(dense.spec(), {.exclude = {"model.layers.2.mlp.up_proj"}});
  quantize_model(dense, plan, compute, {.path = folder / "mixed"});
  const Checkpoint mixed(folder / "mixed");
  const std::string tree = module_tree(mixed);
  EXPECT_THAT(tree, HasSubstr("      (0-1): 2 x LlamaDecoderLayer(\n"));
  EXPECT_THAT(tree, HasSubstr("      (2): LlamaDecoderLayer(\n"));
  EXPECT_THAT(tree, HasSubstr("(up_proj): Linear(in_features=64, out_features=96, bias=False, "
                              "bits=16, dtype=BF16)\n"));

  std::map<std::string, std::int64_t> counts;
  for (const TensorGroup& group : group_tensors(inspect(mixed, DType::kBF16).tensors)) {
    counts[group.name] = group.count;
  }
  EXPECT_EQ(counts["model.layers.{0-1}.mlp.up_proj.weight"], 2);
  EXPECT_EQ(counts["model.layers.2.mlp.up_proj.weight"], 1);
  EXPECT_EQ(counts["model.layers.{0-2}.mlp.gate_proj.weight"], 3);
  EXPECT_EQ(counts["lm_head.weight"], 1);
}

TEST(GroupTensors, NamesTheBlocksThatAreAlike) {
  std::vector<StoredParameter> tensors;
  for (const int layer : {0, 1, 2, 3, 9, 10}) {
    StoredParameter& tensor = tensors.emplace_back();
    tensor.name = fmt::format("layers.{}.w", layer);
    tensor.shape = {2, 2};
    tensor.format = layer == 3 ? "BF16" : "w4";
  }
  const auto groups = group_tensors(tensors);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].name, "layers.{0-2,9-10}.w");
  EXPECT_EQ(groups[0].count, 5);
  EXPECT_EQ(groups[1].name, "layers.3.w");
}

TEST(Inspection, TensorsOutsideTheModelAreNamed) {
  const TemporaryFolder folder;
  const auto path = make_tiny_model(folder, {.bits = 16});
  // The same file with one tensor more.
  const SafetensorsFile original(path / "model.safetensors");
  std::vector<TensorDeclaration> declarations = {{"rotary.inv_freq", DType::kF32, {2}}};
  for (const TensorEntry& entry : original.entries()) {
    declarations.push_back({entry.name, entry.view.dtype, entry.view.shape});
  }
  const std::vector<float> extra = {1, 2};
  SafetensorsWriter writer(path / "model.safetensors", declarations);
  writer.append("rotary.inv_freq", std::as_bytes(std::span(extra)));
  for (const TensorEntry& entry : original.entries()) {
    writer.append(entry.name, {entry.view.data, entry.view.bytes});
  }
  writer.commit();
  const Inspection inspection = inspect(Checkpoint(path), DType::kBF16);
  EXPECT_THAT(inspection.unused, ::testing::ElementsAre("rotary.inv_freq"));
  EXPECT_EQ(inspection.bytes, tensor_bytes(path / "model.safetensors") - 8);
}

TEST(Inspection, CostsOfAToken) {
  const TemporaryFolder folder;
  const TokenCost token =
      inspect(Checkpoint(make_tiny_model(folder, {.bits = 16})), DType::kBF16).token;
  EXPECT_EQ(token.bits_per_weight(), 16);
  EXPECT_EQ(token.operations, 2 * (3 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64) + 203 * 64));
  EXPECT_EQ(token.kv_bytes_per_position, 3 * 2 * 2 * 16 * 2);  // layers, k v, heads, size, bytes
  EXPECT_EQ(token.attention_operations, 3 * 4 * 64);
}

}  // namespace
}  // namespace nibble
