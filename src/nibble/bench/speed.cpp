#include "nibble/bench/speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <span>

#include "nibble/bench/machine.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/process.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/models/token_cost.h"

namespace nibble {
namespace {

class SpeedTest {
 public:
  SpeedTest(Model& model, const ComputeOptions& compute, const SpeedOptions& options)
      : model_(model),
        compute_(compute),
        options_(options),
        cache_(model.make_cache(needed_positions(options, model.spec()))),
        logits_(static_cast<std::size_t>(model.spec().vocab)),
        ids_(random_ids(cache_.capacity(), model.spec().vocab, options.seed)),
        progress_(
            "measuring",
            options.repetitions * ((options.prompt > 0 ? 1 : 0) + (options.generate > 0 ? 1 : 0)),
            "runs") {}

  FirstTokens first_tokens() {
    FirstTokens first{.tokens = std::min(options_.generate, kFirstTokens)};
    const Stopwatch prompt;
    run_prompt(ids(0, kDecodeStart));
    first.prompt_seconds = prompt.seconds();
    const Stopwatch tokens;
    generate(first.tokens);
    first.seconds = tokens.seconds();
    return first;
  }

  PrefillSpeed prefill() {
    PrefillSpeed speed{.tokens = options_.prompt};
    measure_peaks(speed);
    const auto prompt = ids(0, options_.prompt);
    run_prompt(prompt);  // brings in the weights
    for (int i = 0; i < options_.repetitions; ++i) {
      const Stopwatch stopwatch;
      run_prompt(prompt);
      const double rate = static_cast<double>(options_.prompt) / stopwatch.seconds();
      verbose("prefill: {:.2f} tokens a second", rate);
      speed.tokens_per_second.push_back(rate);
      progress_.advance(1);
    }
    // Again: what other processes did during one of the two is not the machine's limit.
    const double before = speed.peak;
    measure_peaks(speed);
    speed.peak = std::max(speed.peak, before);
    return speed;
  }

  DecodeSpeed decode() {
    DecodeSpeed speed{.tokens = options_.generate,
                      .bytes_per_token = token_cost(model_.checkpoint(), compute_.dtype).bytes};
    // Brings in the weights and every embedding row that will be looked up: those lie in the file.
    run_prompt(ids(0, kDecodeStart + options_.generate));
    model_.move_weights();
    generate(std::min<std::int64_t>(options_.generate, 4));
    peak_rss_ = nibble::peak_rss_bytes();
    MemoryReader reader(model_.compute());
    speed.runs = run_bracketed(
        options_.repetitions, [&] { return reader.measure(); },
        [&] {
          const Stopwatch stopwatch;
          generate(options_.generate);
          const double seconds = stopwatch.seconds();
          progress_.advance(1);
          return static_cast<double>(options_.generate) / seconds;
        });
    // The reader's memory was resident all the time, so what is above it is the model's.
    const auto buffer = static_cast<std::int64_t>(reader.buffer_bytes());
    peak_rss_ = std::max(peak_rss_, nibble::peak_rss_bytes() - buffer);
    return speed;
  }

  std::int64_t peak_rss_bytes() const {
    return peak_rss_ > 0 ? peak_rss_ : nibble::peak_rss_bytes();
  }

 private:
  std::span<const std::int32_t> ids(std::int64_t first, std::int64_t count) const {
    return std::span(ids_).subspan(static_cast<std::size_t>(first),
                                   static_cast<std::size_t>(count));
  }

  void run_prompt(std::span<const std::int32_t> prompt) {
    cache_.truncate(0);
    model_.forward_last(prompt, cache_, logits_.data());
  }

  void generate(std::int64_t count) {
    cache_.truncate(kDecodeStart);
    for (std::int64_t i = 0; i < count; ++i) {
      model_.forward_last(ids(kDecodeStart + i, 1), cache_, logits_.data());
    }
  }

  /// Where several instructions share the work, the peak is that of their mix.
  void measure_peaks(PrefillSpeed& speed) {
    double seconds = 0;
    speed.operations = 0;
    speed.instruction.clear();
    for (const ProductWork& work :
         prefill_work(model_.checkpoint(), model_.compute().kernels(), compute_, options_.prompt)) {
      seconds += work.operations / measure_peak(model_.compute(), *work.peak);
      speed.operations += work.operations;
      speed.instruction += speed.instruction.empty() ? "" : ", ";
      speed.instruction += work.peak->name;
    }
    speed.peak = speed.operations / seconds;
  }

  Model& model_;
  const ComputeOptions& compute_;
  const SpeedOptions& options_;
  KvCache cache_;
  std::vector<float> logits_;
  std::vector<std::int32_t> ids_;
  Progress progress_;
  std::int64_t peak_rss_ = 0;
};

Json spread_json(const std::vector<double>& values) {
  if (values.empty()) return {{"min", nullptr}, {"median", nullptr}, {"max", nullptr}};
  const Spread spread = spread_of(values);
  return {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}};
}

/// What some of the kept runs say together.
struct DecodeFigures {
  std::vector<double> speeds;
  std::vector<double> limits;
  std::vector<double> percents;
  std::vector<double> readings;  // GB/s

  void add(const DecodeSpeed& speed, const BracketedRun& run) {
    speeds.push_back(run.speed);
    limits.push_back(speed.limit(run));
    percents.push_back(100 * run.speed / speed.limit(run));
    readings.push_back(run.reading() / 1e9);
  }
};

Json median_json(const std::vector<double>& values) {
  return values.empty() ? Json(nullptr) : Json(median_of(values));
}

Json modes_json(const DecodeSpeed& speed, const std::vector<double>& readings) {
  Json modes = Json::array();
  for (const std::vector<std::size_t>& mode : find_modes(readings)) {
    DecodeFigures figures;
    for (const std::size_t place : mode) figures.add(speed, speed.runs.kept[place]);
    modes.push_back({{"read_gbps", median_of(figures.readings)},
                     {"tokens_per_second", median_of(figures.speeds)},
                     {"percent_of_limit", median_of(figures.percents)},
                     {"n", mode.size()}});
  }
  return modes;
}

}  // namespace

std::int64_t needed_positions(const SpeedOptions& options, const ModelSpec& spec) {
  const std::int64_t limit = options.context > 0 ? options.context : spec.context;
  const std::int64_t decode = options.generate > 0 ? kDecodeStart + options.generate : 0;
  if (options.prompt > limit) {
    fail("a prompt of {} tokens (-p) is longer than the context of {}", options.prompt, limit);
  }
  if (decode > limit) {
    fail("{} new tokens (-n) after a prompt of {} are more than the context of {}",
         options.generate, kDecodeStart, limit);
  }
  return std::max<std::int64_t>({options.prompt, decode, 1});
}

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::int32_t> id(0, static_cast<std::int32_t>(vocab - 1));
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t& value : ids) value = id(random);
  return ids;
}

std::vector<ProductWork> prefill_work(const Checkpoint& checkpoint, const KernelSet& kernels,
                                      const ComputeOptions& compute, std::int64_t tokens) {
  std::vector<ProductWork> all;
  const ModelSpec& spec = checkpoint.spec();
  for (const LinearCost& cost : linear_costs(checkpoint, compute.dtype)) {
    const bool is_head = cost.linear.name == spec.head.name;
    const PeakKernel* peak = &matmul_peak(
        kernels, checkpoint.activations(cost.linear, compute.activations), cost.format);
    const double operations = cost.operations() * (is_head ? 1.0 : static_cast<double>(tokens));
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const ProductWork& work) { return work.peak == peak; });
    if (found == all.end()) {
      all.push_back({peak, operations});
    } else {
      found->operations += operations;
    }
  }
  return all;
}

SpeedReport measure_speed(Model& model, const ComputeOptions& compute,
                          const SpeedOptions& options) {
  SpeedTest test(model, compute, options);
  pin_threads(model.compute().pool());
  SpeedReport report;
  if (options.generate > 0) report.first.push_back(test.first_tokens());
  if (options.prompt > 0) report.prefill.push_back(test.prefill());
  if (options.generate > 0) report.decode.push_back(test.decode());
  report.peak_rss_bytes = test.peak_rss_bytes();
  if (options.sequences > 0) report.sequences.push_back(measure_sequences(model, options));
  return report;
}

Json first_tokens_json(const FirstTokens& first) {
  return {{"prompt", kDecodeStart},
          {"prompt_ms", 1000 * first.prompt_seconds},
          {"tokens", first.tokens},
          {"tokens_per_second", first.per_second()}};
}

Json prefill_json(const PrefillSpeed& speed) {
  return {{"test", fmt::format("pp{}", speed.tokens)},
          {"tokens_per_second", spread_json(speed.tokens_per_second)},
          {"limit", speed.limit()},
          {"percent_of_limit", 100 * median_of(speed.tokens_per_second) / speed.limit()},
          {"peak_tops", speed.peak / 1e12},
          {"instruction", speed.instruction}};
}

Json decode_json(const DecodeSpeed& speed) {
  DecodeFigures figures;
  for (const BracketedRun& run : speed.runs.kept) figures.add(speed, run);
  return {{"test", fmt::format("tg{}", speed.tokens)},
          {"tokens_per_second", spread_json(figures.speeds)},
          {"limit", median_json(figures.limits)},
          {"percent_of_limit", median_json(figures.percents)},
          {"read_gbps", median_json(figures.readings)},
          {"kept", speed.runs.kept.size()},
          {"dropped", speed.runs.dropped},
          {"modes", modes_json(speed, figures.readings)}};
}

Json sequences_json(const SequencesSpeed& speed) {
  std::vector<double> speeds;
  std::vector<double> limits;
  std::vector<double> percents;
  std::vector<double> one;
  std::vector<double> prefill;
  for (const SequencesSpeed::Run& run : speed.runs) {
    speeds.push_back(run.speed);
    limits.push_back(run.limit(speed.sequences));
    percents.push_back(100 * run.speed / limits.back());
    one.push_back(run.one);
    prefill.push_back(run.prefill);
  }
  return {{"test", fmt::format("tg{}x{}", speed.tokens, speed.sequences)},
          {"sequences", speed.sequences},
          {"tokens_per_second", spread_json(speeds)},
          {"limit", median_json(limits)},
          {"percent_of_limit", median_json(percents)},
          {"one_sequence", median_json(one)},
          {"prefill", median_json(prefill)}};
}

}  // namespace nibble
