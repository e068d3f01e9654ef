// The table of the AVX-512 set.
#include "nibble/kernels/avx512/avx512.h"

namespace nibble {
namespace {

constexpr PeakKernel kPeaks[] = {
    {ProductType::kBF16, "bf16 dot (VDPBF16PS or multiply-adds)", avx512::peak_bf16_dot},
    {ProductType::kInt8, "int8 dot (VPDPBUSD)", avx512::peak_int8_dot},
    {ProductType::kF32, "f32 multiply-add (AVX-512)", avx512::peak_f32_fma}};

}  // namespace

const KernelSet kAvx512Kernels = {
    .name = "avx512",
    .matmul_f32 = {avx512::matmul_f32_f32, avx512::matmul_f32_f16, avx512::matmul_f32_bf16,
                   avx512::matmul_f32_w4, avx512::matmul_f32_w3, avx512::matmul_f32_w8},
    .matmul_bf16 = {nullptr, nullptr, avx512::matmul_bf16_bf16, avx512::matmul_bf16_w4,
                    avx512::matmul_bf16_w3, avx512::matmul_bf16_w8},
    .matmul_int8 = {nullptr, nullptr, nullptr, avx512::matmul_int8_w4, avx512::matmul_int8_w3,
                    avx512::matmul_int8_w8},
    .quantize_int8 = avx512::quantize_int8,
    .int8_scale = avx512::int8_scale,
    .matmul_scratch_bytes = avx512::matmul_scratch_bytes,
    .panel_rows = 64,
    .int8_panel_rows = 64,
    .gemm_f32 = avx512::gemm_f32,
    .gemm_f64 = avx512::gemm_f64,
    .attention_f32 = avx512::attention_f32,
    .attention_bf16 = avx512::attention_bf16,
    .attention_int8 = avx512::attention_int8,
    .attention_scratch_bytes = avx512::attention_scratch_bytes,
    .attention_rounds = true,
    .rms_norm = avx512::rms_norm,
    .layer_norm = avx512::layer_norm,
    .rope = avx512::rope,
    .activate = avx512::activate,
    .activate_mul = avx512::activate_mul,
    .add = avx512::add,
    .to_bf16 = avx512::to_bf16,
    .group_sums_f32 = avx512::group_sums_f32,
    .group_sums_bf16 = avx512::group_sums_bf16,
    .log_sum_exp = avx512::log_sum_exp,
    .softmax = avx512::softmax,
    .read_memory = avx512::read_memory,
    .peaks = kPeaks,
    .peak_count = 3,
};

}  // namespace nibble
