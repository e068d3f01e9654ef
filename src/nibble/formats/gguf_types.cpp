#include "nibble/formats/gguf_types.h"

#include <algorithm>
#include <array>

namespace nibble {
namespace {

struct ValueType {
  std::string_view name;
  std::uint64_t bytes;
};

constexpr std::array kValueTypes = {
    ValueType{"U8", 1},     ValueType{"I8", 1},    ValueType{"U16", 2}, ValueType{"I16", 2},
    ValueType{"U32", 4},    ValueType{"I32", 4},   ValueType{"F32", 4}, ValueType{"BOOL", 1},
    ValueType{"STRING", 0}, ValueType{"ARRAY", 0}, ValueType{"U64", 8}, ValueType{"I64", 8},
    ValueType{"F64", 8},
};
static_assert(kValueTypes.size() == static_cast<std::size_t>(GgufType::kF64) + 1);

// Numbers and sizes: enum ggml_type and type_traits in
// https://github.com/ggml-org/ggml/blob/master/include/ggml.h and src/ggml.c.
constexpr std::array kGgmlTypes = {
    GgmlType{0, "F32", {1, 4}, DType::kF32},
    GgmlType{1, "F16", {1, 2}, DType::kF16},
    GgmlType{2, "Q4_0", {32, 18}, DType::kQ4_0},
    GgmlType{3, "Q4_1", {32, 20}, DType::kQ4_1},
    GgmlType{6, "Q5_0", {32, 22}, DType::kQ5_0},
    GgmlType{7, "Q5_1", {32, 24}, DType::kQ5_1},
    GgmlType{8, "Q8_0", {32, 34}, DType::kQ8_0},
    GgmlType{9, "Q8_1", {32, 36}, std::nullopt},
    GgmlType{10, "Q2_K", {256, 84}, DType::kQ2_K},
    GgmlType{11, "Q3_K", {256, 110}, DType::kQ3_K},
    GgmlType{12, "Q4_K", {256, 144}, DType::kQ4_K},
    GgmlType{13, "Q5_K", {256, 176}, DType::kQ5_K},
    GgmlType{14, "Q6_K", {256, 210}, DType::kQ6_K},
    GgmlType{15, "Q8_K", {256, 292}, DType::kQ8_K},
    GgmlType{16, "IQ2_XXS", {256, 66}, std::nullopt},
    GgmlType{17, "IQ2_XS", {256, 74}, std::nullopt},
    GgmlType{18, "IQ3_XXS", {256, 98}, std::nullopt},
    GgmlType{19, "IQ1_S", {256, 50}, std::nullopt},
    GgmlType{20, "IQ4_NL", {32, 18}, DType::kIQ4_NL},
    GgmlType{21, "IQ3_S", {256, 110}, std::nullopt},
    GgmlType{22, "IQ2_S", {256, 82}, std::nullopt},
    GgmlType{23, "IQ4_XS", {256, 136}, DType::kIQ4_XS},
    GgmlType{24, "I8", {1, 1}, std::nullopt},
    GgmlType{25, "I16", {1, 2}, std::nullopt},
    GgmlType{26, "I32", {1, 4}, std::nullopt},
    GgmlType{27, "I64", {1, 8}, std::nullopt},
    GgmlType{28, "F64", {1, 8}, DType::kF64},
    GgmlType{29, "IQ1_M", {256, 56}, std::nullopt},
    GgmlType{30, "BF16", {1, 2}, DType::kBF16},
    GgmlType{34, "TQ1_0", {256, 54}, std::nullopt},
    GgmlType{35, "TQ2_0", {256, 66}, std::nullopt},
    GgmlType{39, "MXFP4", {32, 17}, std::nullopt},
};

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < kValueTypes.size() ? kValueTypes[number].name : "";
}

std::uint64_t gguf_type_bytes(GgufType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < kValueTypes.size() ? kValueTypes[number].bytes : 0;
}

const GgmlType* find_ggml_type(std::uint32_t id) {
  const auto* it = std::find_if(kGgmlTypes.begin(), kGgmlTypes.end(),
                                [id](const GgmlType& type) { return type.id == id; });
  return it == kGgmlTypes.end() ? nullptr : it;
}

const GgmlType* find_ggml_type(DType dtype) {
  const auto* it = std::find_if(kGgmlTypes.begin(), kGgmlTypes.end(),
                                [dtype](const GgmlType& type) { return type.dtype == dtype; });
  return it == kGgmlTypes.end() ? nullptr : it;
}

std::string supported_ggml_types() {
  std::string names;
  for (const GgmlType& type : kGgmlTypes) {
    if (!type.dtype) continue;
    if (!names.empty()) names += ", ";
    names += type.name;
  }
  return names;
}

}  // namespace nibble
