// Scales and gains of norms of a quantized model, learned from end to end: so that its predictions
// come near those of the model that it was made from (EfficientQAT's second phase, arXiv 2407.11062
// section 3.3, with the Kullback-Leibler divergence as loss, and norms too as in Norm Tweaking,
// 2309.02784). Integers and zero points stay. Beside the packed weights there is in memory what
// goes into each block of one sequence, and its logits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nibble/models/decoder.h"
#include "nibble/models/embedding.h"
#include "nibble/quant/learning/learned_block.h"
#include "nibble/quant/tensor_writer.h"

namespace nibble {

struct DistillationOptions {
  std::int64_t batch = 2;  // sequences of a step
  float rate = 2.5e-3F;    // the learning rate at its peak, relative to a scale or gain
};

class Distillation {
 public:
  /// original: the teacher. quantized: a folder that Nibble wrote from it. Both must outlive this.
  Distillation(const Checkpoint& original, const Checkpoint& quantized, Compute& compute,
               DType dtype);
  ~Distillation();

  /// One pass over `ids`, sequences of one length, a batch a step. on_step gets the mean divergence
  /// of a step's tokens, in nats, before the step.
  void run(const std::vector<std::vector<std::int32_t>>& ids, const DistillationOptions& options,
           const std::function<void(double divergence)>& on_step);

  /// What was learned: the scales of layers by their names, (row blocks, groups, 16), and the
  /// norms' weights by the names of parameters.
  std::map<std::string, std::vector<BFloat16>> scales();
  RewrittenParameters norms();

 private:
  struct Sequence;

  double learn(const std::vector<std::int32_t>& ids, float share);
  void run_teacher(const std::vector<std::int32_t>& ids);
  void run_student(const std::vector<std::int32_t>& ids);
  double compare(float share);
  double compare_row(std::int64_t row, const float* expected, float share, int thread);
  void go_back();
  void move(float rate, int step);
  std::vector<LearnedLinear*> outer_linears();
  /// What learns of a module of the model; null where nothing does.
  LearnedLinear* find_linear(const Module& module);
  LearnedNorm* find_norm(const Module& module);

  Compute& compute_;
  Decoder teacher_;
  WeightLoader loader_;
  Embedding embedding_;
  std::vector<std::unique_ptr<LearnedBlock>> blocks_;
  std::optional<Norm> final_norm_;
  std::optional<LearnedNorm> learned_final_norm_;
  std::optional<Linear> project_out_;
  std::optional<LearnedLinear> learned_project_out_;
  Linear head_;
  LearnedLinear learned_head_;
  std::unique_ptr<Sequence> sequence_;  // the one at hand
};

}  // namespace nibble
