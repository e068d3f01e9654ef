// Products of row-major matrices over all threads, for what is not a layer of a model: sums over
// calibration tokens, factorizations, gradients.
#pragma once

#include "nibble/ops/compute.h"

namespace nibble {

/// out += a . b, as the kernels' GemmTask says (its scratch is not used). The result does not
/// depend on the threads.
void gemm(Compute& compute, const GemmTask<float>& task);
void gemm(Compute& compute, const GemmTask<double>& task);

/// A part of a product on the calling thread, `thread` of the pool.
void gemm_here(Compute& compute, int thread, GemmTask<float> task);
void gemm_here(Compute& compute, int thread, GemmTask<double> task);

}  // namespace nibble
