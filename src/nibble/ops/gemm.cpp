#include "nibble/ops/gemm.h"

#include <algorithm>

namespace nibble {
namespace {

// Of a task for one thread: enough rows to pay for copying a panel, both few enough for many tasks.
constexpr std::int64_t kRows = 96;
constexpr std::int64_t kCols = 256;

template <typename Element>
void run_tasks(Compute& compute, const GemmTask<Element>& whole) {
  const std::int64_t row_tasks = (whole.rows + kRows - 1) / kRows;
  const std::int64_t col_tasks = (whole.cols + kCols - 1) / kCols;
  compute.pool().parallel_for(row_tasks * col_tasks, [&](std::int64_t item, int thread) {
    const std::int64_t row = item / col_tasks * kRows;
    const std::int64_t col = item % col_tasks * kCols;
    GemmTask<Element> task = whole;
    task.a += row * whole.a_stride;
    task.b += col;
    task.out += row * whole.out_stride + col;
    task.rows = std::min(kRows, whole.rows - row);
    task.cols = std::min(kCols, whole.cols - col);
    gemm_here(compute, thread, task);
  });
}

}  // namespace

void gemm(Compute& compute, const GemmTask<float>& task) {
  run_tasks(compute, task);
}
void gemm(Compute& compute, const GemmTask<double>& task) {
  run_tasks(compute, task);
}

void gemm_here(Compute& compute, int thread, GemmTask<float> task) {
  task.scratch = compute.thread_scratch(thread, kGemmScratchBytes);
  compute.kernels().gemm_f32(task);
}
void gemm_here(Compute& compute, int thread, GemmTask<double> task) {
  task.scratch = compute.thread_scratch(thread, kGemmScratchBytes);
  compute.kernels().gemm_f64(task);
}

}  // namespace nibble
