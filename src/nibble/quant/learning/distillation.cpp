#include "nibble/quant/learning/distillation.h"

#include <algorithm>
#include <cmath>

#include "nibble/models/rope_frequencies.h"

namespace nibble {
namespace {

constexpr std::int64_t kTeacherRows = 64;  // of the teacher's logits that are there at a time

KvCache make_cache(const ModelSpec& spec, std::int64_t layers, std::int64_t tokens) {
  return KvCache({.n_layers = layers,
                  .n_kv_heads = spec.n_kv_heads,
                  .head_dim = spec.head_dim,
                  .capacity = tokens},
                 KvType::kBF16);
}

Pass make_pass(const ModelSpec& spec) {
  return spec.rope ? Pass(Rope(rope_frequencies(*spec.rope, spec.head_dim))) : Pass();
}

}  // namespace

/// A sequence and what is kept of it on the way forward.
struct Distillation::Sequence {
  Sequence(const ModelSpec& spec, std::int64_t length)
      : tokens(length),
        teacher_cache(make_cache(spec, spec.n_layers, length)),
        cache(make_cache(spec, 1, length)),
        pass(make_pass(spec)),
        expected(length, spec.hidden),
        inputs(spec.n_layers * length, spec.hidden),
        hidden(length, spec.hidden),
        normed(length, spec.hidden),
        projected(spec.project_out ? length : 0, spec.embedding_width),
        logits(length, spec.vocab),
        gradient(length, spec.hidden) {
    cache.require(length);
    pass.begin();
    pass.add(cache, length);
  }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const Matrix<float>& head_input() const { return projected.rows() > 0 ? projected : normed; }

  std::int64_t tokens;
  KvCache teacher_cache;
  KvCache cache;
  Pass pass;               // of all tokens
  Matrix<float> expected;  // the teacher's final states
  Matrix<float> inputs;    // of all blocks, one after the other
  Matrix<float> hidden;    // behind the last block
  Matrix<float> normed;
  Matrix<float> projected;
  Matrix<float> logits;  // (tokens, vocab), then their gradient
  Matrix<float> gradient;
};

Distillation::Distillation(const Checkpoint& original, const Checkpoint& quantized,
                           Compute& compute, DType dtype)
    : compute_(compute),
      teacher_(original, compute, dtype),
      loader_(quantized, compute, dtype),
      embedding_(loader_),
      head_(loader_.linear(loader_.spec().head)),
      learned_head_(head_) {
  const ModelSpec& spec = loader_.spec();
  if (!quantized.has_own_head()) learned_head_.freeze();  // rows of the embedding have its scales
  for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
    blocks_.push_back(std::make_unique<LearnedBlock>(load_block(loader_, layer), spec));
  }
  if (!spec.final_norm.empty()) {
    final_norm_ = loader_.norm(spec.final_norm, spec.hidden);
    learned_final_norm_.emplace(*final_norm_, spec.norm.weight_offset);
  }
  if (spec.project_out) {
    project_out_ = loader_.linear(*spec.project_out);
    learned_project_out_.emplace(*project_out_);
  }
}

Distillation::~Distillation() = default;

void Distillation::run(const std::vector<std::vector<std::int32_t>>& ids,
                       const DistillationOptions& options,
                       const std::function<void(double)>& on_step) {
  const std::int64_t length = std::ssize(ids.front());
  sequence_ = std::make_unique<Sequence>(loader_.spec(), length);
  const auto steps = static_cast<int>(std::max<std::int64_t>(1, std::ssize(ids) / options.batch));
  for (int step = 1; step <= steps; ++step) {
    const std::int64_t first = (step - 1) * options.batch;
    const std::int64_t count = std::min(options.batch, std::ssize(ids) - first);
    const float share = 1 / static_cast<float>(count * length);
    double divergence = 0;
    for (std::int64_t i = first; i < first + count; ++i) {
      divergence += learn(ids[static_cast<std::size_t>(i)], share);
    }
    move(learning_rate(options.rate, step, steps), step);
    on_step(divergence * share);
  }
  sequence_.reset();
}

/// Adds the gradient of one sequence, each of its tokens counting `share`; returns the sum of their
/// divergences.
double Distillation::learn(const std::vector<std::int32_t>& ids, float share) {
  run_teacher(ids);
  run_student(ids);
  const double divergence = compare(share);
  go_back();
  return divergence;
}

void Distillation::run_teacher(const std::vector<std::int32_t>& ids) {
  sequence_->teacher_cache.truncate(0);
  teacher_.forward(compute_, ids, sequence_->teacher_cache, sequence_->expected.data());
}

void Distillation::run_student(const std::vector<std::int32_t>& ids) {
  Sequence& s = *sequence_;
  embedding_.run(compute_, ids, s.pass.positions(), s.hidden.data());
  std::int64_t row = 0;
  for (const auto& block : blocks_) {
    std::copy_n(s.hidden.data(), s.hidden.all().size(), s.inputs.row(row));
    block->block().run(compute_, s.pass, 0, s.hidden.data());
    row += s.tokens;
  }
  std::copy_n(s.hidden.data(), s.hidden.all().size(), s.normed.data());
  if (final_norm_) final_norm_->apply(compute_, s.hidden.data(), s.tokens, s.normed.data());
  if (project_out_) {
    apply_linear(compute_, *project_out_, {.x = s.normed.data(), .tokens = s.tokens},
                 s.projected.data());
  }
  apply_linear(compute_, head_, {.x = s.head_input().data(), .tokens = s.tokens}, s.logits.data());
}

/// Puts the gradient of the divergence in the place of the logits; returns the sum of divergences.
double Distillation::compare(float share) {
  Sequence& s = *sequence_;
  std::vector<double> sums(static_cast<std::size_t>(s.tokens));
  Matrix<float> expected(kTeacherRows, s.logits.cols());
  for (std::int64_t first = 0; first < s.tokens; first += kTeacherRows) {
    const std::int64_t rows = std::min(kTeacherRows, s.tokens - first);
    teacher_.logits(compute_, s.expected.row(first), rows, expected.data());
    compute_.pool().parallel_for(rows, [&](std::int64_t i, int thread) {
      sums[static_cast<std::size_t>(first + i)] =
          compare_row(first + i, expected.row(i), share, thread);
    });
  }
  double sum = 0;
  for (const double value : sums) sum += value;
  return sum;
}

/// sum p (ln p - ln q) of one token, whose gradient by its logits is q - p.
double Distillation::compare_row(std::int64_t row, const float* expected, float share, int thread) {
  const KernelSet& kernels = compute_.kernels();
  const std::int64_t n = sequence_->logits.cols();
  float* logits = sequence_->logits.row(row);
  auto* p = reinterpret_cast<float*>(
      compute_.thread_scratch(thread, 2 * static_cast<std::size_t>(n) * sizeof(float)));
  float* q = p + n;
  const double expected_sum = kernels.softmax(expected, n, p);
  const double sum = kernels.softmax(logits, n, q);
  double divergence = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double difference = (static_cast<double>(expected[i]) - expected_sum) - (logits[i] - sum);
    if (p[i] > 0) divergence += p[i] * difference;
    logits[i] = share * (q[i] - p[i]);
  }
  return divergence;
}

void Distillation::go_back() {
  Sequence& s = *sequence_;
  s.gradient.clear();
  Matrix<float> dprojected(s.projected.rows(), s.projected.cols());
  float* dhead_input = project_out_ ? dprojected.data() : s.gradient.data();
  learned_head_.backward(compute_, s.head_input().data(), s.logits.data(), s.tokens, dhead_input);
  if (project_out_) {
    learned_project_out_->backward(compute_, s.normed.data(), dprojected.data(), s.tokens,
                                   s.gradient.data());
  }
  if (learned_final_norm_) {
    learned_final_norm_->backward(compute_, s.hidden.data(), s.gradient.data(), s.tokens,
                                  s.gradient.data(), false);
  }
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i]->backward(compute_, s.pass.rope(),
                         s.inputs.row(static_cast<std::int64_t>(i) * s.tokens), s.tokens,
                         s.gradient.data());
  }
}

std::vector<LearnedLinear*> Distillation::outer_linears() {
  std::vector<LearnedLinear*> all;
  if (learned_project_out_) all.push_back(&*learned_project_out_);
  all.push_back(&learned_head_);
  return all;
}

void Distillation::move(float rate, int step) {
  const auto move_linear = [&](LearnedLinear& linear) {
    linear.numbers().move(rate, step);
    linear.update();
  };
  const bool has_gains = loader_.spec().norm.has_weight;
  const auto move_norm = [&](LearnedNorm& norm) {
    if (!has_gains) return;
    norm.numbers().move(rate, step);
    norm.update();
  };
  for (const auto& block : blocks_) {
    for (LearnedLinear* linear : block->linears()) move_linear(*linear);
    for (LearnedNorm* norm : block->norms()) move_norm(*norm);
  }
  for (LearnedLinear* linear : outer_linears()) move_linear(*linear);
  if (learned_final_norm_) move_norm(*learned_final_norm_);
}

LearnedLinear* Distillation::find_linear(const Module& module) {
  if (module.layer >= 0)
    return blocks_[static_cast<std::size_t>(module.layer)]->linear(module.role);
  if (module.role == ModuleRole::kHead) return &learned_head_;
  return module.role == ModuleRole::kProjectOut ? &*learned_project_out_ : nullptr;
}

LearnedNorm* Distillation::find_norm(const Module& module) {
  if (module.layer >= 0) return blocks_[static_cast<std::size_t>(module.layer)]->norm(module.role);
  return module.role == ModuleRole::kFinalNorm ? &*learned_final_norm_ : nullptr;
}

std::map<std::string, std::vector<BFloat16>> Distillation::scales() {
  std::map<std::string, std::vector<BFloat16>> found;
  for (const Module& module : loader_.spec().modules()) {
    if (module.kind != ModuleKind::kLinear) continue;
    const LearnedLinear* linear = find_linear(module);
    if (linear == nullptr || linear->scales().empty()) continue;
    const std::span<const BFloat16> scales = linear->scales();
    found[module.name].assign(scales.begin(), scales.end());
  }
  return found;
}

RewrittenParameters Distillation::norms() {
  RewrittenParameters found;
  for (const Module& module : loader_.spec().modules()) {
    if (module.kind != ModuleKind::kNorm || !module.has_weight) continue;
    const LearnedNorm* norm = find_norm(module);
    if (norm != nullptr) found[module.name + ".weight"] = norm->stored();
  }
  return found;
}

}  // namespace nibble
