// One pool of threads for all operators, and for all models that are given it. The calling thread
// works too, as thread 0; the others spin briefly between jobs (the operators of one token follow
// each other within microseconds) and sleep otherwise. How a sum is split never depends on the
// number of threads, so no result does. A job is over when its items are done: no thread waits for
// another that has nothing to do, which may be asleep or have lost its core to another process.
//
// Threads are spread over the memory nodes as the cores are, neighbours on the same node. Where
// there are several nodes each thread but the caller's, which is not the pool's own, is tied to its
// node; where there is one, the system knows best.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/core/topology.h"

namespace nibble {

class ThreadPool {
 public:
  /// `threads` of 1 and more; 0 means one a core of `topology`, as far as the CPU quota goes.
  /// Throws Error if so many cannot be started.
  explicit ThreadPool(int threads = 0, Topology topology = usable_topology());
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(parts_.size()); }
  int nodes() const { return topology_.nodes; }
  /// The core that is meant for `thread`: its own unless there are more threads than cores.
  const Core& core_of(int thread) const;
  bool has_core_each() const { return parts_.size() <= topology_.cores.size(); }

  /// Calls work(item, thread) once for each item of 0..items-1, thread being 0..size()-1 and each
  /// thread working on one item at a time; returns when all are done. The first exception thrown by
  /// `work` is thrown here, and items not yet begun are left out; likewise Interrupted after
  /// request_interrupt(). Several threads
  /// may call: one call waits for the other. Throws Error if called by `work` itself.
  void parallel_for(std::int64_t items, FunctionRef<void(std::int64_t item, int thread)> work);

  /// The items that parallel_for(items) deals to `thread`: begin .. end - 1. Others take them only
  /// when they have none left of their own.
  struct Share {
    std::int64_t begin;
    std::int64_t end;
  };
  Share share(std::int64_t items, int thread) const;

  /// Calls work(thread) once on every thread, the work of none being done by another: for memory
  /// that a thread should touch first. Otherwise as parallel_for().
  void for_each_thread(FunctionRef<void(int thread)> work);

 private:
  void tie_to_node(int thread) const;
  void order_help();
  void run(std::int64_t items, std::uint64_t mode,
           FunctionRef<void(std::int64_t item, int thread)> work);
  void stop();
  void worker_loop(int thread);
  void run_items(int thread);
  bool take_item(int part, int thread, std::int64_t& item);
  void leave_out_rest();
  void finish_items(std::uint32_t count);

  // Items are dealt out in consecutive parts, one a thread, so that each reads its share of a
  // matrix as one stream and, from job to job, the same share; who is done with its own helps with
  // the next, on its own node first.
  struct alignas(64) Part {
    std::atomic<std::uint64_t> claims{0};  // number of the job << 33 | mode | items not yet begun
  };
  static constexpr std::uint64_t kAnyThread = 0;
  static constexpr std::uint64_t kOwnThread = std::uint64_t{1} << 32;  // nobody helps

  Topology topology_;
  std::vector<std::vector<int>> help_order_;  // by thread: all parts, its own first
  std::vector<std::thread> workers_;
  std::vector<Part> parts_;
  std::mutex caller_mutex_;  // held by whose job is under way
  // The job under way. Whoever takes an item out of a part may read these: they change only when
  // all items are done, and with them the number of the job in the parts.
  std::atomic<const FunctionRef<void(std::int64_t, int)>*> work_{nullptr};
  std::atomic<std::int64_t> items_{0};
  alignas(64) std::atomic<std::uint32_t> unfinished_{0};  // items not yet told to be done
  alignas(64) std::atomic<std::uint32_t> epoch_{0};       // number of the job: workers wait for it
  std::atomic<bool> stopping_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace nibble
