#include "nibble/quant/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>

#include "nibble/core/bfloat16.h"
#include "nibble/core/error.h"
#include "nibble/core/progress.h"
#include "nibble/models/architecture.h"
#include "nibble/models/tokenizer_files.h"
#include "nibble/quant/packed_contents.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

// Standard deviation of the weights: "initializer_range" of most configs.
constexpr float kDeviation = 0.02F;

/// SplitMix64 (Steele, Lea, Flood 2014): any state is as good as any other, so that every unit of
/// every tensor can begin a stream of its own.
class RandomBits {
 public:
  RandomBits(std::uint64_t seed, std::uint64_t tensor, std::uint64_t unit)
      : state_(mix(mix(mix(seed) + tensor) + unit)) {}

  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }

 private:
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  std::uint64_t state_;
};

/// The bytes of a tensor as units that are made independently: a row, or a block of 16 packed rows.
struct Units {
  std::size_t bytes;  // of one
  std::function<void(std::int64_t unit, RandomBits& random, std::span<std::byte> out)> fill;
};

/// Standard deviation of integers drawn evenly from 0 .. 2^bits - 1.
float integer_deviation(int bits) {
  const float values = std::ldexp(1.0F, bits);
  return std::sqrt((values * values - 1) / 12);
}

/// Rows of the matrix in a block of 16.
std::int64_t rows_in_block(std::int64_t rows, std::int64_t block) {
  return std::min(kRowBlock, rows - block * kRowBlock);
}

/// A factor of 0.75 .. 1.25.
float jitter(RandomBits& random) {
  return 0.75F + static_cast<float>(random.next() >> 40) * 0x1p-25F;
}

std::span<std::uint8_t> as_uint8(std::span<std::byte> bytes) {
  return {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()};
}

/// Rows past the matrix hold zeros.
void clear_padding(const PackedGroup& layout, std::int64_t rows, std::span<std::uint8_t> codes) {
  std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * layout.cols));
  unpack_codes(layout, codes, q);
  std::fill(q.begin() + rows * layout.cols, q.end(), std::uint8_t{0});
  pack_codes(layout, q, codes);
}

/// Integers over the whole range: random bits.
Units code_units(const PackedGroup& layout) {
  return {static_cast<std::size_t>(layout.block_code_bytes()),
          [layout](std::int64_t block, RandomBits& random, std::span<std::byte> out) {
            for (std::size_t i = 0; i < out.size(); i += 8) {  // cols is a multiple of 32
              const std::uint64_t bits = random.next();
              std::memcpy(out.data() + i, &bits, 8);
            }
            const std::int64_t rows = rows_in_block(layout.rows, block);
            if (rows < kRowBlock) clear_padding(layout, rows, as_uint8(out));
          }};
}

/// Scales that differ by a quarter up and down.
Units scale_units(const PackedGroup& layout) {
  const float typical = kDeviation / integer_deviation(layout.bits);
  return {static_cast<std::size_t>(layout.block_scale_bytes()),
          [layout, typical](std::int64_t block, RandomBits& random, std::span<std::byte> out) {
            auto* scales = reinterpret_cast<BFloat16*>(out.data());
            for (std::int64_t i = 0; i < layout.groups() * kRowBlock; ++i) {
              const float scale = jitter(random) * typical;
              const bool exists = i % kRowBlock < rows_in_block(layout.rows, block);
              scales[i] = to_bfloat16(exists ? scale : 0.0F);
            }
          }};
}

/// Zero points of the two integers in the middle of the range, so that weights are 0 on average.
Units zero_units(const PackedGroup& layout) {
  return {static_cast<std::size_t>(layout.block_zero_bytes()),
          [layout](std::int64_t block, RandomBits& random, std::span<std::byte> out) {
            const unsigned middle = (1U << (layout.bits - 1)) - 1;
            std::vector<std::uint8_t> zeros(static_cast<std::size_t>(layout.groups() * kRowBlock));
            for (std::size_t i = 0; i < zeros.size(); ++i) {
              const bool exists =
                  static_cast<std::int64_t>(i) % kRowBlock < rows_in_block(layout.rows, block);
              const auto value = middle + static_cast<unsigned>(random.next() >> 63);
              zeros[i] = static_cast<std::uint8_t>(exists ? value : 0);
            }
            pack_zeros(layout, zeros, as_uint8(out));
          }};
}

/// Integers of -127 .. 127.
Units code_units(const Int8PerChannel& layout) {
  return {static_cast<std::size_t>(layout.block_code_bytes()),
          [layout](std::int64_t block, RandomBits& random, std::span<std::byte> out) {
            std::vector<std::int8_t> q(static_cast<std::size_t>(kRowBlock * layout.cols));
            const std::int64_t rows = rows_in_block(layout.rows, block);
            for (std::int64_t i = 0; i < rows * layout.cols; i += 8) {
              std::uint64_t bits = random.next();
              for (std::int64_t j = i; j < std::min(i + 8, rows * layout.cols); ++j, bits >>= 8) {
                const auto value = static_cast<std::int8_t>(bits & 0xffu);
                q[static_cast<std::size_t>(j)] = std::max(value, std::int8_t{-127});
              }
            }
            pack_int8(layout, q, as_uint8(out));
          }};
}

Units scale_units(const Int8PerChannel& layout) {
  const float typical = kDeviation / integer_deviation(8);
  return {static_cast<std::size_t>(layout.block_scale_bytes()),
          [layout, typical](std::int64_t block, RandomBits& random, std::span<std::byte> out) {
            float scales[kRowBlock] = {};
            for (std::int64_t i = 0; i < rows_in_block(layout.rows, block); ++i) {
              scales[i] = jitter(random) * typical;
            }
            std::memcpy(out.data(), scales, sizeof scales);
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
      if (!layer.packed) continue;
      std::visit([&](const auto& layout) { write_packed(layer.linear.name, layout); },
                 layer.layout);
    }
    for (const Parameter& tensor : dense_parameters(spec, plan)) {
      write(tensor.name, dense_units(spec, tensor));
    }
  }

 private:
  void write_packed(const std::string& name, const PackedGroup& layout) {
    write(name + kCodesSuffix, code_units(layout));
    write(name + kScalesSuffix, scale_units(layout));
    write(name + kZerosSuffix, zero_units(layout));
  }
  void write_packed(const std::string& name, const Int8PerChannel& layout) {
    write(name + kCodesSuffix, code_units(layout));
    write(name + kScalesSuffix, scale_units(layout));
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
  const JsonObject object(json, config_file.string());
  const Architecture& architecture = find_architecture(object);
  const ModelSpec spec = architecture.make_spec(object);
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
