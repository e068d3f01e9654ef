// Moves a model's weights to memory that is quicker to read, a little between passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "nibble/core/buffer.h"
#include "nibble/layers/linear.h"
#include "nibble/models/tensor_source.h"
#include "nibble/ops/weight_move.h"

namespace nibble {

/// Weights that lie in small pages go to huge ones, and where there are several memory nodes all
/// weights to those of the threads that read them (ops/weight_move.h). Often there is nothing to
/// do: a file that was written by Nibble, or read in long stretches, is in huge pages of the page
/// cache where the kernel has them for its file system. Moving weights takes as long as several
/// passes, and each later pass gains a little by it: so it may take only a small part of the time
/// that passes take, and a short answer is not kept waiting. Weights stay where they are if the
/// system has no huge pages, if there is no memory, or once half of the memory to be had is used
/// up: a mapped file can be given back.
class WeightMover {
 public:
  /// `source` has the files that weights lie in. Both must outlive this.
  WeightMover(Compute& compute, const TensorSource& source) : compute_(compute), source_(source) {}

  /// Layers with the same input (8 at the most), which are moved together. What is moved lives as
  /// long as this.
  void add(std::initializer_list<Linear*> together);

  /// Notes that a pass took `seconds`: moving may take a part of that.
  void allow(double pass_seconds);
  /// Moves weights, but no longer than is allowed. Not while they are read.
  void move();
  /// Moves all that are left to move.
  void move_all();

 private:
  struct Group {
    std::vector<Weight*> weights;
    std::int64_t bytes() const;
  };

  void plan();
  void step();
  void start(const Group& group);
  void finish();

  Compute& compute_;
  const TensorSource& source_;
  Arena arena_;
  std::deque<Group> groups_;  // those left to move
  bool planned_ = false;
  std::optional<WeightMove> move_;                  // of the first of them, once begun
  std::vector<std::span<const std::byte>> mapped_;  // where that lies in files
  double seconds_ = 0;      // allowed; less than 0 if the last step took longer
  std::int64_t bytes_ = 0;  // of memory, likewise
};

}  // namespace nibble
