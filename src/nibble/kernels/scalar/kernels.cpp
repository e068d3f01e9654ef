// The table of the scalar set.
#include "nibble/kernels/scalar/scalar.h"

namespace nibble {
namespace {

constexpr PeakKernel kPeaks[] = {
    {ProductType::kF32, "f32 multiply and add (SSE2)", scalar::peak_f32}};

}  // namespace

const KernelSet kScalarKernels = {
    .name = "scalar",
    .matmul_f32 = {scalar::matmul<float>, scalar::matmul<float>, scalar::matmul<float>,
                   scalar::matmul<float>, scalar::matmul<float>, scalar::matmul<float>},
    .matmul_bf16 = {nullptr, nullptr, scalar::matmul<BFloat16>, scalar::matmul<BFloat16>,
                    scalar::matmul<BFloat16>, scalar::matmul<BFloat16>},
    .matmul_int8 = {nullptr, nullptr, nullptr, scalar::matmul_int8, scalar::matmul_int8,
                    scalar::matmul_int8_w8},
    .quantize_int8 = scalar::quantize_int8,
    .int8_scale = scalar::int8_scale,
    .matmul_scratch_bytes = scalar::matmul_scratch_bytes,
    .panel_rows = 64,
    .int8_panel_rows = 64,
    .gemm_f32 = scalar::gemm_f32,
    .gemm_f64 = scalar::gemm_f64,
    .attention_f32 = scalar::attention<float>,
    .attention_bf16 = scalar::attention<BFloat16>,
    .attention_int8 = scalar::attention<std::int8_t>,
    .attention_scratch_bytes = scalar::attention_scratch_bytes,
    .attention_rounds = false,
    .rms_norm = scalar::rms_norm,
    .layer_norm = scalar::layer_norm,
    .rope = scalar::rope,
    .activate = scalar::activate,
    .activate_mul = scalar::activate_mul,
    .add = scalar::add,
    .to_bf16 = scalar::to_bf16,
    .group_sums_f32 = scalar::group_sums_f32,
    .group_sums_bf16 = scalar::group_sums_bf16,
    .log_sum_exp = scalar::log_sum_exp,
    .softmax = scalar::softmax,
    .read_memory = scalar::read_memory,
    .peaks = kPeaks,
    .peak_count = 1,
};

}  // namespace nibble
