#include "nibble/npu/device.h"

#include <algorithm>
#include <array>

#include "nibble/core/ascii.h"
#include "nibble/core/error.h"

namespace nibble::npu {
namespace {

constexpr std::array kDevices = {Device::kPhx, Device::kHpt, Device::kStx};
constexpr std::array kStacks = {Stack::kEager, Stack::kMladf, Stack::kFast};
constexpr std::array kPrecisions = {Precision::kW4ABF16, Precision::kW8A8, Precision::kW8A16};

template <typename T, std::size_t kCount>
std::optional<T> find_named(const std::array<T, kCount>& all, const char* (*name_of)(T),
                            std::string_view name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](T each) {
    return lower_case(name_of(each)) == lower_case(name);
  });
  return found == all.end() ? std::nullopt : std::optional(*found);
}

struct PublishedShape {
  const char* name;
  ModelShape shape;
};
constexpr std::array<PublishedShape, 5> kPublished = {{
    {"Llama-3.2-1B", {16, 2048, 32, 8, 64, 8192, 128256, true}},
    {"Llama-3.1-8B", {32, 4096, 32, 8, 128, 14336, 128256, true}},
    {"Llama-2-7B", {32, 4096, 32, 32, 128, 11008, 32000, true}},
    {"OPT-6.7B", {32, 4096, 32, 32, 128, 16384, 50272, false}},
    {"Qwen1.5-7B", {32, 4096, 32, 32, 128, 11008, 151936, true}},
}};

}  // namespace

const char* device_name(Device device) {
  constexpr const char* kNames[] = {"PHX", "HPT", "STX"};
  return kNames[static_cast<int>(device)];
}
const char* stack_name(Stack stack) {
  constexpr const char* kNames[] = {"eager", "mladf", "fast"};
  return kNames[static_cast<int>(stack)];
}
const char* precision_name(Precision precision) {
  constexpr const char* kNames[] = {"w4abf16", "w8a8", "w8a16"};
  return kNames[static_cast<int>(precision)];
}

std::optional<Device> find_device(std::string_view name) {
  return find_named(kDevices, device_name, name);
}
std::optional<Precision> find_precision(std::string_view name) {
  return find_named(kPrecisions, precision_name, name);
}
std::optional<Stack> find_stack(std::string_view name) {
  return find_named(kStacks, stack_name, name);
}

std::span<const Device> all_devices() {
  return kDevices;
}

const Hardware& hardware(Device device) {
  static constexpr Hardware kHardware[] = {
      {"Phoenix", 10, "4x5", 2560}, {"Hawk Point", 16, "4x5", 2560}, {"Strix", 50, "4x8", 4096}};
  return kHardware[static_cast<int>(device)];
}

ModelShape shape_of(const ModelSpec& spec) {
  return {.layers = spec.n_layers,
          .hidden = spec.hidden,
          .heads = spec.n_heads,
          .kv_heads = spec.n_kv_heads,
          .head_dim = spec.head_dim,
          .intermediate = spec.intermediate,
          .vocab = spec.vocab,
          .gated = spec.gate.has_value()};
}

std::optional<ModelShape> find_published_shape(std::string_view name) {
  const std::string lower = lower_case(name);
  const auto found = std::find_if(kPublished.begin(), kPublished.end(), [&](const auto& each) {
    return lower.ends_with(lower_case(each.name));  // "Meta-Llama-3.1-8B"
  });
  return found == kPublished.end() ? std::nullopt : std::optional(found->shape);
}

Recipe make_recipe(Device device, Stack stack, const Algorithm& algorithm) {
  const bool w4 = algorithm.precision == Precision::kW4ABF16;
  const std::string_view name = algorithm.name;
  const std::string_view known[] = {"awq", "awqplus", "pergrp", "smoothquant"};
  if (std::find(std::begin(known), std::end(known), name) == std::end(known)) {
    fail("unknown algorithm \"{}\" (awq, awqplus, pergrp or smoothquant)", name);
  }
  if ((name == "smoothquant") == w4) {
    fail("{} is not an algorithm of {}: w8a8 and w8a16 are smoothquant's", name,
         precision_name(algorithm.precision));
  }
  if (w4 && algorithm.group_size != 32 && algorithm.group_size != 64 &&
      algorithm.group_size != 128) {
    fail("group size {}: expected 32, 64 or 128", algorithm.group_size);
  }
  if (stack != Stack::kEager && (device != Device::kStx || !w4)) {
    fail("{} kernels are those of w4abf16 on STX, not of {} on {}", stack_name(stack),
         precision_name(algorithm.precision), device_name(device));
  }
  if (algorithm.precision == Precision::kW8A16 && device != Device::kStx) {
    fail("w8a16 runs on STX, not on {}", device_name(device));
  }
  return {.device = device,
          .stack = stack,
          .precision = algorithm.precision,
          .group_size = w4 ? algorithm.group_size : 0,
          .head_on_npu = name != "awq",
          .head_group_size = !w4                 ? 0
                             : name == "awqplus" ? 32
                                                 : algorithm.group_size};
}

}  // namespace nibble::npu
