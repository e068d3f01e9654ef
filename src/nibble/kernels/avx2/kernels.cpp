// The table of the AVX2 set.
#include "nibble/kernels/avx2/avx2.h"

namespace nibble {
namespace {

constexpr PeakKernel kPeaks[] = {
    {ProductType::kF32, "f32 multiply-add (AVX2)", avx2::peak_f32_fma},
    {ProductType::kInt8, "int8 dot (VPDPBUSD or VPMADDUBSW)", avx2::peak_int8_dot}};

}  // namespace

const KernelSet kAvx2Kernels = {
    .name = "avx2",
    .matmul_f32 = {avx2::matmul_f32_f32, avx2::matmul_f32_f16, avx2::matmul_f32_bf16,
                   avx2::matmul_f32_w4, avx2::matmul_f32_w3, avx2::matmul_f32_w8},
    .matmul_bf16 = {nullptr, nullptr, avx2::matmul_bf16_bf16, avx2::matmul_bf16_w4,
                    avx2::matmul_bf16_w3, avx2::matmul_bf16_w8},
    .matmul_int8 = {nullptr, nullptr, nullptr, avx2::matmul_int8_w4, avx2::matmul_int8_w3,
                    avx2::matmul_int8_w8},
    .quantize_int8 = avx2::quantize_int8,
    .int8_scale = avx2::int8_scale,
    .matmul_scratch_bytes = avx2::matmul_scratch_bytes,
    .panel_rows = 64,
    .int8_panel_rows = 64,
    .gemm_f32 = avx2::gemm_f32,
    .gemm_f64 = avx2::gemm_f64,
    .attention_f32 = avx2::attention_f32,
    .attention_bf16 = avx2::attention_bf16,
    .attention_int8 = avx2::attention_int8,
    .attention_scratch_bytes = avx2::attention_scratch_bytes,
    .attention_rounds = false,
    .rms_norm = avx2::rms_norm,
    .layer_norm = avx2::layer_norm,
    .rope = avx2::rope,
    .activate = avx2::activate,
    .activate_mul = avx2::activate_mul,
    .add = avx2::add,
    .to_bf16 = avx2::to_bf16,
    .group_sums_f32 = avx2::group_sums_f32,
    .group_sums_bf16 = avx2::group_sums_bf16,
    .log_sum_exp = avx2::log_sum_exp,
    .softmax = avx2::softmax,
    .read_memory = avx2::read_memory,
    .peaks = kPeaks,
    .peak_count = 2,
};

}  // namespace nibble
