#include "nibble/kernels/select.h"

#include <cpuid.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "nibble/core/error.h"

namespace nibble {
namespace {

// GCC's __builtin_cpu_supports answers from libgcc's __cpu_model, which get_available_features
// (libgcc/config/i386 cpuinfo.h) fills: CPUID's bits of AVX and later count only if OSXSAVE is set
// and XGETBV says that the operating system saves the registers (XCR0 bits 1-2 for AVX, 5-7 as well
// for AVX-512). So no further test of the system is needed here.
struct Feature {
  const char* name;
  bool present;
};

std::array<Feature, 3> avx2_features() {
  return {{{"avx2", __builtin_cpu_supports("avx2") != 0},
           {"fma", __builtin_cpu_supports("fma") != 0},
           {"f16c", __builtin_cpu_supports("f16c") != 0}}};
}

std::array<Feature, 7> avx512_features() {
  return {{{"avx512f", __builtin_cpu_supports("avx512f") != 0},
           {"avx512bw", __builtin_cpu_supports("avx512bw") != 0},
           {"avx512dq", __builtin_cpu_supports("avx512dq") != 0},
           {"avx512vl", __builtin_cpu_supports("avx512vl") != 0},
           {"avx512vbmi", __builtin_cpu_supports("avx512vbmi") != 0},
           {"avx512vnni", __builtin_cpu_supports("avx512vnni") != 0},
           {"avx512bf16", __builtin_cpu_supports("avx512bf16") != 0}}};
}

// What the avx2 set uses if it is there.
std::array<Feature, 1> optional_features() {
  return {{{"avxvnni", __builtin_cpu_supports("avxvnni") != 0}}};
}

bool all_present(std::span<const Feature> features) {
  for (const Feature& feature : features) {
    if (!feature.present) return false;
  }
  return true;
}

std::vector<const KernelSet*> find_supported() {
  std::vector<const KernelSet*> sets;
  const bool avx2 = all_present(avx2_features());
  if (avx2 && all_present(avx512_features())) sets.push_back(&kAvx512Kernels);
  if (avx2) sets.push_back(&kAvx2Kernels);
  sets.push_back(&kScalarKernels);
  return sets;
}

const KernelSet& named_kernels(std::string_view name) {
  std::string supported;
  for (const KernelSet* set : supported_kernels()) {
    if (name == set->name) return *set;
    supported += supported.empty() ? "" : ", ";
    supported += set->name;
  }
  const bool known = name == kAvx512Kernels.name || name == kAvx2Kernels.name;
  fail("NIBBLE_ISA: expected one of {}, found '{}'{}", supported, name,
       known ? ", which this machine cannot run" : "");
}

// The 48 characters of CPUID leaves 0x80000002 to 0x80000004, without the padding.
std::string cpu_name() {
  std::array<unsigned, 12> words{};
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    unsigned* out = words.data() + 4 * leaf;
    if (__get_cpuid(0x80000002u + leaf, &out[0], &out[1], &out[2], &out[3]) == 0) return "unknown";
  }
  std::array<char, sizeof words + 1> text{};
  std::memcpy(text.data(), words.data(), sizeof words);
  const std::string name = text.data();
  const std::size_t begin = name.find_first_not_of(' ');
  if (begin == std::string::npos) return "unknown";
  return name.substr(begin, name.find_last_not_of(' ') + 1 - begin);
}

void append_present(std::span<const Feature> features, std::string& text) {
  for (const Feature& feature : features) {
    if (!feature.present) continue;
    text += text.empty() ? "" : " ";
    text += feature.name;
  }
}

}  // namespace

std::span<const KernelSet* const> supported_kernels() {
  static const std::vector<const KernelSet*> sets = find_supported();
  return sets;
}

const KernelSet& select_kernels() {
  const char* name = std::getenv("NIBBLE_ISA");
  const bool named = name != nullptr && *name != '\0';  // "NIBBLE_ISA=" clears it, as in a shell
  return named ? named_kernels(name) : *supported_kernels().front();
}

CpuInfo cpu_info() {
  CpuInfo info{.model = cpu_name(), .features = {}};
  append_present(avx2_features(), info.features);
  append_present(optional_features(), info.features);
  append_present(avx512_features(), info.features);
  return info;
}

}  // namespace nibble
