// Several sequences in one pass: each gets what it gets alone.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "bench/tiny_model.h"
#include "models/logits.h"

namespace nibble {
namespace {

struct SequencesCase {
  int bits;  // of the weights; 4 in groups of 32
  ActivationType activations;
  KvType kv;
};

/// A model for any kernel set, and a pool for the caches of its sequences.
class Sequences {
 public:
  Sequences(const std::filesystem::path& path, const KernelSet& kernels,
            const SequencesCase& test_case)
      : checkpoint_(path),
        compute_(kernels, workers_),
        decoder_(checkpoint_, compute_, DType::kBF16, test_case.activations),
        pool_(std::make_shared<KvPool>(
            KvCacheShape{spec().n_layers, spec().n_kv_heads, spec().head_dim, 100 * 256},
            test_case.kv)) {}

  const ModelSpec& spec() const { return checkpoint_.spec(); }
  std::int64_t free_pages() const { return pool_->pages().free_pages(); }

  /// A sequence that holds `ids`, computed by itself.
  KvCache prefill(const std::vector<std::int32_t>& ids) {
    KvCache cache(pool_, 1000);
    if (!ids.empty()) run({{ids, &cache}});
    return cache;
  }
  /// A sequence that shares the pages of another.
  KvCache fork(const KvCache& cache) {
    KvCache copy(pool_, 1000);
    copy.share(cache.pages(), cache.length());
    return copy;
  }

  /// Hidden states of one pass.
  std::vector<float> run(const std::vector<SequenceTokens>& sequences) {
    std::size_t rows = 0;
    for (const SequenceTokens& sequence : sequences) rows += sequence.tokens.size();
    std::vector<float> hidden(rows * static_cast<std::size_t>(spec().hidden));
    decoder_.forward(compute_, sequences, hidden.data());
    return hidden;
  }

 private:
  Checkpoint checkpoint_;
  ThreadPool workers_{2};
  Compute compute_;
  Decoder decoder_;
  std::shared_ptr<KvPool> pool_;
};

/// What one of some sequences holds, and its new tokens.
struct Piece {
  std::vector<std::int32_t> held;
  std::vector<std::int32_t> tokens;
};

Piece make_piece(int sequence, std::int64_t held, std::int64_t tokens) {
  Piece piece;
  for (std::int64_t i = 0; i < held + tokens; ++i) {
    auto& part = i < held ? piece.held : piece.tokens;
    part.push_back(static_cast<std::int32_t>((sequence * 37 + i * 31 + i * i) % 200));
  }
  return piece;
}

class SequencesTest : public ::testing::TestWithParam<SequencesCase> {
 protected:
  testing::TemporaryFolder folder_;
  std::filesystem::path path_ =
      testing::make_tiny_model(folder_, {.bits = GetParam().bits, .group_size = 32});

  /// Runs all pieces in one pass, and each as often as there are pieces in a pass of its own, where
  /// the same kernels run; and each alone, where sums may be in another order.
  void expect_each_as_alone(const KernelSet& kernels, const std::vector<Piece>& pieces) {
    SCOPED_TRACE(kernels.name);
    Sequences model(path_, kernels, GetParam());
    const std::int64_t free = model.free_pages();
    {
      std::vector<KvCache> caches;
      for (const Piece& piece : pieces) caches.push_back(model.prefill(piece.held));
      std::vector<KvCache> together;
      for (const KvCache& cache : caches) together.push_back(model.fork(cache));
      std::vector<SequenceTokens> pass;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        pass.push_back({pieces[i].tokens, &together[i]});
      }
      const std::vector<float> hidden = model.run(pass);
      std::size_t at = 0;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const std::size_t size =
            pieces[i].tokens.size() * static_cast<std::size_t>(model.spec().hidden);
        const std::vector<float> found(hidden.begin() + static_cast<std::ptrdiff_t>(at),
                                       hidden.begin() + static_cast<std::ptrdiff_t>(at + size));
        SCOPED_TRACE("sequence " + std::to_string(i));
        expect_as_alone(kernels, model, caches[i], pieces[i], pass, found);
        at += size;
      }
    }
    EXPECT_EQ(model.free_pages(), free);
  }

 private:
  static void expect_as_alone(const KernelSet& kernels, Sequences& model, const KvCache& cache,
                              const Piece& piece, const std::vector<SequenceTokens>& pass,
                              const std::vector<float>& found) {
    KvCache single = model.fork(cache);
    const std::vector<float> alone = model.run({{piece.tokens, &single}});
    // What is left of a sum's order: nothing with the scalar kernels, nor where products are
    // integers.
    if (&kernels == &kScalarKernels || GetParam().activations == ActivationType::kInt8) {
      EXPECT_EQ(found, alone);
    } else {
      const bool is_f32 = GetParam().activations == ActivationType::kF32;
      test::expect_close_logits(found, alone, static_cast<std::size_t>(model.spec().hidden),
                                is_f32 ? test::kF32Limit : test::kBF16RandomLimit, INFINITY);
    }

    std::vector<KvCache> copies;
    std::vector<SequenceTokens> same;
    for (std::size_t i = 0; i < pass.size(); ++i) copies.push_back(model.fork(cache));
    for (std::size_t i = 0; i < pass.size(); ++i) {
      // As many rows as in the mixed pass, so that all its kernels run.
      if (pass[i].tokens.size() != piece.tokens.size()) return;
      same.push_back({piece.tokens, &copies[i]});
    }
    const std::vector<float> all = model.run(same);
    for (std::size_t i = 0; i < pass.size(); ++i) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(i * found.size());
      EXPECT_EQ(std::vector<float>(first, first + static_cast<std::ptrdiff_t>(found.size())), found)
          << "copy " << i;
    }
  }
};

TEST_P(SequencesTest, EightOfDifferentLengthsInAStepOfDecode) {
  std::vector<Piece> pieces;
  for (const std::int64_t held : {0, 1, 5, 17, 255, 256, 300, 530}) {
    pieces.push_back(make_piece(static_cast<int>(pieces.size()), held, 1));
  }
  for (const KernelSet* kernels : supported_kernels()) expect_each_as_alone(*kernels, pieces);
}

TEST_P(SequencesTest, PromptsAndStepsOfDecodeTogether) {
  const std::vector<Piece> pieces = {make_piece(0, 30, 1), make_piece(1, 0, 40),
                                     make_piece(2, 270, 1), make_piece(3, 250, 9),
                                     make_piece(4, 3, 2)};
  for (const KernelSet* kernels : supported_kernels()) expect_each_as_alone(*kernels, pieces);
}

std::string name_of(const ::testing::TestParamInfo<SequencesCase>& info) {
  return "w" + std::to_string(info.param.bits) + "_" + activation_type_name(info.param.activations);
}

INSTANTIATE_TEST_SUITE_P(Numerics, SequencesTest,
                         ::testing::Values(SequencesCase{16, ActivationType::kF32, KvType::kF32},
                                           SequencesCase{16, ActivationType::kBF16, KvType::kBF16},
                                           SequencesCase{4, ActivationType::kF32, KvType::kF32},
                                           SequencesCase{4, ActivationType::kBF16, KvType::kBF16},
                                           SequencesCase{4, ActivationType::kInt8, KvType::kInt8},
                                           SequencesCase{8, ActivationType::kInt8, KvType::kBF16}),
                         name_of);

// A prefix computed once serves two sequences, which then go their ways.
TEST(SharedPrefix, GivesWhatTheWholeSequenceGives) {
  const testing::TemporaryFolder folder;
  const auto path = testing::make_tiny_model(folder, {.bits = 4, .group_size = 32});
  for (const KernelSet* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    Sequences model(path, *kernels, {4, ActivationType::kBF16, KvType::kBF16});
    const std::vector<std::int32_t> prefix = make_piece(0, 300, 0).held;
    const KvCache held = model.prefill(prefix);
    const std::int64_t free = model.free_pages();
    std::vector<KvCache> shared;
    std::vector<KvCache> whole;
    for (int i = 0; i < 2; ++i) {
      shared.push_back(model.fork(held));
      whole.push_back(model.prefill(prefix));
    }
    EXPECT_EQ(model.free_pages(), free - 4);  // the second ones'
    const std::vector<std::int32_t> first = make_piece(1, 0, 3).tokens;
    const std::vector<std::int32_t> second = make_piece(2, 0, 5).tokens;
    for (int step = 0; step < 3; ++step) {
      EXPECT_EQ(model.run({{first, &shared[0]}, {second, &shared[1]}}),
                model.run({{first, &whole[0]}, {second, &whole[1]}}));
    }
    EXPECT_EQ(model.free_pages(), free - 6);  // each copied the page that it wrote to
    EXPECT_EQ(shared[0].pages()[0].data(), shared[1].pages()[0].data());
  }
}

}  // namespace
}  // namespace nibble
