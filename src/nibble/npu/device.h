// The NPUs of the Ryzen AI line as they are modelled: which there are, and what a model is run
// with.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "nibble/models/model_spec.h"

namespace nibble::npu {

enum class Device : std::uint8_t { kPhx, kHpt, kStx };  // Phoenix, Hawk Point, Strix

/// The software that a device is driven by: kernels of 16 tiles and the rest on the CPU; kernels of
/// 32 tiles; those with norms, RoPE, the feed-forward network and attention of long prompts on the
/// NPU too (all of the --fast_* flags).
enum class Stack : std::uint8_t { kEager, kMladf, kFast };

enum class Precision : std::uint8_t { kW4ABF16, kW8A8, kW8A16 };

const char* device_name(Device device);           // "STX"
const char* stack_name(Stack stack);              // "eager"
const char* precision_name(Precision precision);  // "w4abf16"

/// Those of these names, upper or lower case.
std::optional<Device> find_device(std::string_view name);
std::optional<Precision> find_precision(std::string_view name);
std::optional<Stack> find_stack(std::string_view name);

std::span<const Device> all_devices();

/// What the sheets publish of a device's hardware.
struct Hardware {
  const char* full_name;
  int int8_tops;  // peak
  const char* tiles;
  int l2_kib;
};
const Hardware& hardware(Device device);

/// The sizes of a model that its launches and its time follow from.
struct ModelShape {
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate = 0;
  std::int64_t vocab = 0;
  bool gated = true;  // the feed-forward network has a gate
};
ModelShape shape_of(const ModelSpec& spec);
/// That of a model of the published tables, by what its name ends in; nothing for others.
std::optional<ModelShape> find_published_shape(std::string_view name);

/// How a model was quantized and is run.
struct Recipe {
  Device device = Device::kStx;
  Stack stack = Stack::kEager;
  Precision precision = Precision::kW4ABF16;
  int group_size = 128;               // of w4abf16
  bool head_on_npu = true;            // plain awq leaves the head in bf16 on the CPU
  int head_group_size = 128;          // of w4abf16: 32 under awqplus
  bool flash_attention_plus = false;  // q, k and v are one product
};

/// The recipe of an algorithm: awq, awqplus, pergrp or smoothquant. Throws Error for other names
/// and for combinations that there are not (w4 with smoothquant, w8a16 on PHX).
struct Algorithm {
  std::string_view name;
  Precision precision = Precision::kW4ABF16;
  int group_size = 128;
};
Recipe make_recipe(Device device, Stack stack, const Algorithm& algorithm);

}  // namespace nibble::npu
