#include "nibble/quant/random_model.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>

#include "nibble/core/bfloat16.h"
#include "nibble/core/error.h"
#include "nibble/core/progress.h"
#include "nibble/models/architecture.h"
#include "nibble/models/tokenizer_files.h"
#include "nibble/quant/packed_contents.h"
#include "nibble/weights/random_bits.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

// Standard deviation of the weights: "initializer_range" of most configs.
constexpr float kDeviation = 0.02F;

/// The bytes of a tensor as units that are made independently: a row, or a block of 16 packed rows.
struct Units {
  std::size_t bytes;  // of one
  std::function<void(std::int64_t unit, RandomBits& random, std::span<std::byte> out)> fill;
};

/// A part of a packed layer: its blocks are made as the format says.
Units packed_units(const WeightLayout& layout, const PartLayout& part, std::size_t index) {
  return {static_cast<std::size_t>(part.block_bytes()),
          [layout, index](std::int64_t block, RandomBits& random, std::span<std::byte> out) {
            const std::int64_t rows = std::min(kRowBlock, layout.rows - block * kRowBlock);
            codec_of(layout.format)
                .fill_random(layout, {.part = index, .rows = rows, .deviation = kDeviation}, random,
                             out);
          }};
}

/// About normal: the sum of four random bytes, centred and scaled.
void fill_normal(RandomBits& random, std::span<BFloat16> out) {
  constexpr float kMean = 4 * 127.5F;
  const float scale = kDeviation / (2 * integer_deviation(8));
  const auto value = [&](std::uint64_t sum) {
    return to_bfloat16((static_cast<float>(sum) - kMean) * scale);
  };
  for (std::size_t i = 0; i < out.size(); i += 2) {
    const std::uint64_t bits = random.next();
    // Four lanes of 16 bits with the sums of two bytes, then two lanes with those of four.
    const std::uint64_t pairs = (bits & 0x00ff00ff00ff00ffu) + ((bits >> 8) & 0x00ff00ff00ff00ffu);
    const std::uint64_t sums = pairs + (pairs >> 16);
    out[i] = value(sums & 0xffffu);
    if (i + 1 < out.size()) out[i + 1] = value((sums >> 32) & 0xffffu);
  }
}

/// Matrices are random, norms multiply by 1 and biases are 0.
Units dense_units(const ModelSpec& spec, const Parameter& tensor) {
  const auto bytes = static_cast<std::size_t>(tensor.shape.back()) * sizeof(BFloat16);
  const bool is_vector = !tensor.is_matrix();
  const float constant = tensor.is_bias ? 0.0F : 1.0F - spec.norm.weight_offset;
  return {bytes, [is_vector, constant](std::int64_t, RandomBits& random, std::span<std::byte> out) {
            const std::span values(reinterpret_cast<BFloat16*>(out.data()), out.size() / 2);
            if (is_vector) {
              std::fill(values.begin(), values.end(), to_bfloat16(constant));
            } else {
              fill_normal(random, values);
            }
          }};
}

class RandomTensors {
 public:
  RandomTensors(std::uint64_t seed, ThreadPool& pool, CheckpointWriter& writer)
      : seed_(seed),
        pool_(pool),
        writer_(writer),
        progress_("writing", static_cast<std::int64_t>(writer.tensors().file_bytes()), "B") {}

  void write(const ModelSpec& spec, const QuantizePlan& plan) {
    for (const LayerPlan& layer : plan.layers) {
      if (layer.packed) write_packed(layer.linear.name, layer.layout);
    }
    for (const Parameter& tensor : dense_parameters(spec, plan)) {
      write(tensor.name, dense_units(spec, tensor));
    }
  }

 private:
  void write_packed(const std::string& name, const WeightLayout& layout) {
    std::size_t index = 0;
    for (const PartLayout& part : codec_of(layout.format).parts(layout)) {
      write(name + part.suffix, packed_units(layout, part, index++));
    }
  }

  void write(const std::string& name, const Units& units) {
    const auto make = [&](std::int64_t unit, std::span<std::byte> out) {
      RandomBits random(seed_, tensors_written_, static_cast<std::uint64_t>(unit));
      units.fill(unit, random, out);
    };
    writer_.write(
        name, pool_,
        {.piece_bytes = units.bytes, .make = make, .made = [&](std::int64_t, std::int64_t count) {
           progress_.advance(count * static_cast<std::int64_t>(units.bytes));
         }});
    ++tensors_written_;
  }

  std::uint64_t seed_;
  ThreadPool& pool_;
  CheckpointWriter& writer_;
  Progress progress_;
  std::uint64_t tensors_written_ = 0;
};

QuantizePlan plan_random(const ModelSpec& spec, const RandomModelOptions& options) {
  QuantizeOptions plan{.group_size = options.group_size,
                       .quantize_head = options.quantize_head,
                       .outer_group_size = options.outer_group_size,
                       .activations = options.activations};
  if (options.bits == 16) {
    plan.exclude = {"*"};
  } else {
    plan.bits = options.bits;
  }
  return plan_quantization(spec, plan);
}

}  // namespace

RandomModelReport write_random_model(const fs::path& config, const RandomModelOptions& options,
                                     ThreadPool& pool, const fs::path& out, bool replace) {
  const fs::path config_file = fs::is_directory(config) ? config / "config.json" : config;
  const Json json = read_json_file(config_file);
  const ModelSpec spec = spec_of_config(JsonObject(json, config_file.string()));
  const QuantizePlan plan = plan_random(spec, options);

  CheckpointWriter writer(
      {.path = out, .replace = replace, .sources = {fs::absolute(config_file).parent_path()}},
      packed_contents(json, spec, plan, "random"));
  copy_tokenizer_files(config_file.parent_path(), writer.folder());
  RandomTensors(options.seed, pool, writer).write(spec, plan);
  writer.commit();
  return {plan.notes, static_cast<std::int64_t>(writer.tensors().file_bytes())};
}

}  // namespace nibble
