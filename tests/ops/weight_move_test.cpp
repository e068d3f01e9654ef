// Weights on several memory nodes. The nodes are made up: what is tested is who copies which rows,
// and that no result changes.
#include "nibble/ops/weight_move.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "kernels/test_matrix.h"
#include "nibble/core/interrupt.h"
#include "nibble/kernels/select.h"
#include "nibble/ops/matmul.h"
#include "nibble/weights/weight_parts.h"
#include "paths.h"

namespace nibble {
namespace {

using test::make_matrix;
using test::MatrixSpec;
using test::TestMatrix;

/// Cores on made-up nodes, as many on each as said; their hardware threads do not exist.
Topology nodes_of(const std::vector<int>& cores) {
  Topology topology{.nodes = static_cast<int>(cores.size())};
  for (int node = 0; node < topology.nodes; ++node) {
    for (int i = 0; i < cores[static_cast<std::size_t>(node)]; ++i) {
      topology.cores.push_back({40'000 + i, node});
    }
  }
  return topology;
}

std::vector<TestMatrix> matrices_of(const std::vector<MatrixSpec>& specs) {
  std::mt19937 random(3);
  std::vector<TestMatrix> matrices;
  for (const MatrixSpec& spec : specs) matrices.push_back(make_matrix(spec, random));
  return matrices;
}

std::vector<Weight> weights_of(const std::vector<TestMatrix>& matrices) {
  std::vector<Weight> weights;
  for (const TestMatrix& matrix : matrices) weights.push_back({.view = matrix.view, .storage = {}});
  return weights;
}

std::vector<Weight*> pointers_to(std::vector<Weight>& weights) {
  std::vector<Weight*> pointers;
  for (Weight& weight : weights) pointers.push_back(&weight);
  return pointers;
}

void move_all(Compute& compute, std::vector<Weight>& weights, Arena& arena) {
  WeightMove move(compute, pointers_to(weights), arena);
  while (!move.advance()) continue;
}

std::vector<std::vector<float>> multiply(Compute& compute, const std::vector<Weight>& weights,
                                         std::int64_t tokens,
                                         ActivationType activations = ActivationType::kBF16) {
  std::vector<float> x(static_cast<std::size_t>(tokens * weights[0].view.cols));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 61) * 0.07f - 2.0f;
  std::vector<std::vector<float>> outs;
  for (const Weight& weight : weights) {
    outs.emplace_back(static_cast<std::size_t>(tokens * weight.view.rows));
  }
  std::vector<MatmulCall> calls;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    calls.push_back(
        {.weight = &weights[i].view, .out = outs[i].data(), .activations = activations});
  }
  matmul(compute, {x.data(), tokens}, calls);
  return outs;
}

// Odd rows, and every format.
const std::vector<MatrixSpec> kSpecs = {
    {WeightFormat::kW4, 500, 256, 32}, {WeightFormat::kW3, 77, 256, 64},
    {WeightFormat::kBF16, 701, 256},   {WeightFormat::kF32, 91, 256},
    {WeightFormat::kF16, 1, 256},      {WeightFormat::kW8, 203, 256},
    {WeightFormat::kW8, 16, 256},      {WeightFormat::kW4, 3, 256, 128}};

TEST(WeightMove, ChangesNoBit) {
  const std::vector<TestMatrix> matrices = matrices_of(kSpecs);
  for (const ActivationType activations : {ActivationType::kBF16, ActivationType::kInt8}) {
    for (const std::int64_t tokens : {1, 3, 40}) {
      ThreadPool one_pool(2, nodes_of({2}));
      Compute one(select_kernels(), one_pool);
      const auto expected = multiply(one, weights_of(matrices), tokens, activations);
      // One node; even, uneven, more nodes than threads, more threads than cores.
      for (const auto& [threads, nodes] :
           {std::pair(2, std::vector{2}), std::pair(2, std::vector{1, 1}),
            std::pair(3, std::vector{2, 1}), std::pair(5, std::vector{1, 3}),
            std::pair(2, std::vector{1, 1, 1, 1}), std::pair(1, std::vector{1, 1}),
            std::pair(7, std::vector{1, 2, 1})}) {
        ThreadPool pool(threads, nodes_of(nodes));
        Compute compute(select_kernels(), pool);
        std::vector<Weight> weights = weights_of(matrices);
        Arena arena;
        move_all(compute, weights, arena);
        for (std::size_t i = 0; i < weights.size(); ++i) {
          const WeightParts from = weight_parts(matrices[i].view);
          const WeightParts to = weight_parts(weights[i].view);
          for (std::size_t part = 0; part < kWeightParts; ++part) {
            if (from[part].bytes() == 0) continue;
            EXPECT_NE(from[part].data, to[part].data);
            EXPECT_EQ(std::memcmp(from[part].data, to[part].data,
                                  static_cast<std::size_t>(from[part].bytes())),
                      0);
          }
        }
        EXPECT_EQ(multiply(compute, weights, tokens, activations), expected)
            << threads << " threads";
      }
    }
  }
}

/// Page faults that each thread of the pool has had.
std::vector<long> faults_of(ThreadPool& pool) {
  std::vector<long> faults(static_cast<std::size_t>(pool.size()));
  pool.for_each_thread([&](int thread) {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    faults[static_cast<std::size_t>(thread)] = usage.ru_minflt;
  });
  return faults;
}

// Whoever touches a page first takes the fault, and the page is put on its node.
TEST(WeightMove, EachThreadTouchesItsOwnRowsFirst) {
  if (testing::is_sanitized()) GTEST_SKIP() << "a sanitizer's own memory takes page faults too";
  const std::vector<TestMatrix> matrices = matrices_of({{WeightFormat::kBF16, 4099, 512}});
  ThreadPool pool(3, nodes_of({2, 1}));
  Compute compute(select_kernels(), pool);
  std::vector<Weight> weights = weights_of(matrices);
  const std::vector<long> before = faults_of(compute.pool());
  Arena arena;
  move_all(compute, weights, arena);
  const std::vector<long> after = faults_of(compute.pool());
  const auto pages = static_cast<long>(4099 * 1024 / ::sysconf(_SC_PAGESIZE));
  for (std::size_t thread = 0; thread < 3; ++thread) {
    EXPECT_NEAR(static_cast<double>(after[thread] - before[thread]), static_cast<double>(pages) / 3,
                40)
        << "thread " << thread;
  }
}

// Ctrl-C between or in two steps: the next goes on from there, in the same memory.
TEST(WeightMove, GoesOnAfterAnInterrupt) {
  const std::vector<TestMatrix> matrices =
      matrices_of({{WeightFormat::kBF16, 8195, 512}, {WeightFormat::kW4, 500, 512, 128}});
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  std::vector<Weight> weights = weights_of(matrices);
  const auto expected = multiply(compute, weights, 1);
  Arena arena;
  WeightMove move(compute, pointers_to(weights), arena);
  int steps = 0;
  for (bool is_over = false; !is_over; ++steps) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      EXPECT_EQ(weights[i].view.parts[kCodesPart], matrices[i].view.parts[kCodesPart])
          << "as they were until all is copied";
    }
    request_interrupt();
    EXPECT_THROW(move.advance(), Interrupted);
    clear_interrupt();
    is_over = move.advance();
  }
  EXPECT_GE(steps, 4);
  EXPECT_LE(steps, 20);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_NE(weights[i].view.parts[kCodesPart], matrices[i].view.parts[kCodesPart]);
  }
  EXPECT_EQ(multiply(compute, weights, 1), expected);
}

std::mutex recorder_mutex;
std::vector<std::pair<std::thread::id, std::int64_t>> recorded;  // thread, first row
std::set<std::thread::id> recorded_threads;

/// A kernel that computes nothing: it writes down who was given which rows, and holds each thread's
/// first claim until all three have one.
void record_claim(const MatmulTask& task) {
  std::unique_lock lock(recorder_mutex);
  if (!recorded_threads.insert(std::this_thread::get_id()).second) return;
  recorded.emplace_back(std::this_thread::get_id(), task.row_begin);
  while (recorded_threads.size() < 3) {
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  }
}

// The rows that a thread multiplies first are the first of its share when weights were moved.
TEST(WeightMove, RowsGoToTheThreadThatMultipliesThem) {
  KernelSet kernels = kScalarKernels;
  for (auto& product : kernels.matmul_f32) product = record_claim;
  for (auto& product : kernels.matmul_bf16) product = product == nullptr ? nullptr : record_claim;
  ThreadPool pool(3, nodes_of({2, 1}));
  Compute compute(kernels, pool);
  const std::vector<TestMatrix> matrices = matrices_of({{WeightFormat::kBF16, 4099, 512}});
  std::vector<Weight> weights = weights_of(matrices);
  Arena arena;
  move_all(compute, weights, arena);
  std::vector<std::thread::id> ids(3);
  compute.pool().for_each_thread(
      [&](int thread) { ids[static_cast<std::size_t>(thread)] = std::this_thread::get_id(); });
  for (int pass = 0; pass < 20; ++pass) {
    recorded.clear();
    recorded_threads.clear();
    multiply(compute, weights, 1);
    ASSERT_EQ(recorded.size(), 3u);
    for (const auto& [id, row] : recorded) {
      const auto thread = std::find(ids.begin(), ids.end(), id) - ids.begin();
      // Shares are equal to within a claim, of 128 rows at the most.
      EXPECT_NEAR(static_cast<double>(row), 4099.0 / 3 * static_cast<double>(thread), 128);
    }
  }
}

}  // namespace
}  // namespace nibble
