// nibble eval: what a model is worth. Perplexity, and distance from a reference.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/eval/perplexity.h"
#include "nibble/eval/text.h"

namespace nibble::cli {
namespace {

namespace fs = std::filesystem;

struct EvalFlags {
  std::vector<std::string> models;
  std::string task = "perplexity";
  std::string protocol = "segments";
  std::string text;
  bool rows = false;
  std::int64_t seqlen = 0;
  std::vector<std::int64_t> seqlens;
  std::int64_t n_segments = 0;
  std::string reference;
  ComputeFlags compute;
};

/// One model's column of the table.
struct Column {
  std::string name;
  double bytes = 0;  // its linear layers, as read for a token
  double bits_per_weight = 0;
  std::size_t tokens = 0;
  std::vector<PerplexityResult> results;
};

PerplexityProtocol parse_protocol(const std::string& name) {
  return name == "paper" ? PerplexityProtocol::kPaper : PerplexityProtocol::kSegments;
}

/// Where the text comes from: --text, standard input or the default.
std::string read_text(const EvalFlags& flags) {
  const PerplexityProtocol protocol = parse_protocol(flags.protocol);
  if (flags.text == "-") {
    const std::string raw = TextFlags{.text = "-", .file = "", .given = true}.read();
    return flags.rows ? join_rows(raw, protocol) : raw;
  }
  const fs::path path = flags.text.empty() ? default_evaluation_text() : fs::path(flags.text);
  return read_evaluation_text(path, protocol, flags.rows);
}

std::vector<std::int64_t> segment_lengths(const EvalFlags& flags, const ModelSpec& spec) {
  const std::int64_t context = flags.compute.context > 0 ? flags.compute.context : spec.context;
  std::vector<std::int64_t> lengths = flags.seqlens;
  if (lengths.empty()) {
    lengths = {flags.seqlen > 0 ? flags.seqlen : std::min<std::int64_t>(2048, context)};
  }
  for (const std::int64_t length : lengths) {
    if (length > context) {
      fail("segments of {} tokens are longer than the context of {}", length, context);
    }
  }
  return lengths;
}

/// Measures one model; `show_running` prints a line a segment.
Column measure(const EvalFlags& flags, const std::string& name, const std::string& text,
               Model* reference, const CommonFlags& common, bool show_running) {
  Model model(locate_model(name), flags.compute.options(common));
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  const std::vector<std::int32_t> tokens = tokenizer.encode(text);
  Column column{.name = name, .tokens = tokens.size()};
  column.bytes = model.decoder().bytes_per_token();
  column.bits_per_weight = 8 * column.bytes / model.decoder().weights_per_token();
  for (const std::int64_t seqlen : segment_lengths(flags, model.spec())) {
    const PerplexityOptions options{
        .seqlen = seqlen, .max_segments = flags.n_segments, .reference = reference};
    Progress progress(fmt::format("{} x {}", fs::path(name).filename().string(), seqlen),
                      segment_count(static_cast<std::int64_t>(tokens.size()), options), "segments");
    const auto on_segment = [&](const PerplexityResult& running) {
      if (show_running) fmt::print("[{}] {:.4f}\n", running.segments, running.perplexity());
      if (show_running) std::fflush(stdout);
      progress.set_note(fmt::format("perplexity {:.4f}", running.perplexity()));
      progress.advance(1);
    };
    column.results.push_back(measure_perplexity(model, tokens, options, on_segment));
  }
  return column;
}

Json results_json(const Column& column, bool with_reference) {
  Json results = Json::array();
  for (const PerplexityResult& result : column.results) {
    Json entry = {{"seqlen", result.seqlen},
                  {"segments", result.segments},
                  {"perplexity", result.perplexity()},
                  {"nll", result.nll}};
    if (with_reference) {
      entry["kl_divergence"] = result.kl_divergence;
      entry["top1_agreement"] = result.top1_agreement;
    }
    results.push_back(std::move(entry));
  }
  return results;
}

Json report_json(const EvalFlags& flags, const std::string& text,
                 const std::vector<Column>& columns) {
  Json json = {{"protocol", flags.protocol},
               {"text_sha256", sha256_hex(text)},
               {"activations", flags.compute.activations}};
  const bool with_reference = !flags.reference.empty();
  if (columns.size() == 1) {
    json["tokens"] = columns[0].tokens;
    json["results"] = results_json(columns[0], with_reference);
    return json;
  }
  for (const Column& column : columns) {
    json["models"].push_back({{"model", column.name},
                              {"tokens", column.tokens},
                              {"bits_per_weight", column.bits_per_weight},
                              {"results", results_json(column, with_reference)}});
  }
  return json;
}

/// A table with a row for each length and a column for each model.
class Table {
 public:
  explicit Table(const std::vector<Column>& columns) : columns_(columns) {
    for (const Column& column : columns) {
      const std::string name = fs::path(column.name).filename().string();
      names_.push_back(name.empty() ? column.name : name);
      widths_.push_back(std::max<std::size_t>(12, names_.back().size()));
    }
  }

  void print(const std::string& activations, bool with_reference) const {
    row("", [&](std::size_t i) { return names_[i]; });
    for (std::size_t r = 0; r < columns_[0].results.size(); ++r) {
      const auto result = [&](std::size_t i) { return columns_[i].results[r]; };
      const std::string label = fmt::format("perplexity, {} tokens", result(0).seqlen);
      row(label, [&](std::size_t i) { return fmt::format("{:.4f}", result(i).perplexity()); });
      if (!with_reference) continue;
      row("  KL divergence (nats)",
          [&](std::size_t i) { return fmt::format("{:.6f}", result(i).kl_divergence); });
      row("  top-1 agreement (%)",
          [&](std::size_t i) { return fmt::format("{:.2f}", 100 * result(i).top1_agreement); });
    }
    row("activations", [&](std::size_t) { return activations; });
    row("weights read a token", [&](std::size_t i) { return human_bytes(columns_[i].bytes); });
    row("bits a weight",
        [&](std::size_t i) { return fmt::format("{:.3f}", columns_[i].bits_per_weight); });
  }

 private:
  template <typename Cell>
  void row(const std::string& label, Cell cell) const {
    fmt::print("{:<24}", label);
    for (std::size_t i = 0; i < columns_.size(); ++i) fmt::print("  {:>{}}", cell(i), widths_[i]);
    fmt::print("\n");
  }

  const std::vector<Column>& columns_;
  std::vector<std::string> names_;
  std::vector<std::size_t> widths_;
};

void eval(const EvalFlags& flags, const CommonFlags& common) {
  const std::string text = read_text(flags);
  std::unique_ptr<Model> reference;
  if (!flags.reference.empty()) {
    ComputeOptions options = flags.compute.options(common);
    if (options.activations == ActivationType::kInt8) options.activations = ActivationType::kBF16;
    reference = std::make_unique<Model>(locate_model(flags.reference), options);
  }
  const bool show_running = !common.json && flags.models.size() == 1 && flags.seqlens.size() <= 1;
  std::vector<Column> columns;
  for (const std::string& name : flags.models) {
    columns.push_back(measure(flags, name, text, reference.get(), common, show_running));
  }
  if (common.json) {
    print_json(report_json(flags, text, columns));
  } else {
    Table(columns).print(flags.compute.activations, reference != nullptr);
  }
}

}  // namespace

void add_eval(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* command =
      app.add_subcommand("eval", "Measure quality: perplexity, distance from a reference");
  auto flags = std::make_shared<EvalFlags>();
  command->add_option("MODEL", flags->models, "Models, one column of the table each")->required();
  command->add_option("--task", flags->task, "What to measure")
      ->check(CLI::IsMember({"perplexity"}))
      ->capture_default_str();
  command
      ->add_option("--protocol", flags->protocol,
                   "segments: rows joined by a newline; paper: by two, as GPTQ's and AWQ's tables")
      ->check(CLI::IsMember({"segments", "paper"}))
      ->capture_default_str();
  command->add_option(
      "--text", flags->text,
      "The text (default: wiki.test.raw under $NIBBLE_DATA; - reads standard input)");
  command->add_flag("--rows", flags->rows,
                    "Join the text's lines as WikiText's rows (always done for wiki.test.raw)");
  const CLI::Range lengths(std::int64_t{2}, std::int64_t{1} << 30);
  CLI::Option* seqlen =
      command
          ->add_option(
              "--seqlen", flags->seqlen,
              "Tokens of a segment (default: 2048, or the model's context if that is less)")
          ->check(lengths);
  command
      ->add_option_function<std::string>(
          "--seqlens",
          [flags](const std::string& text) {
            flags->seqlens = parse_integers("--seqlens", text, 2, std::int64_t{1} << 30);
          },
          "Several lengths, with commas: a row each")
      ->excludes(seqlen);
  command->add_option("--n-segments", flags->n_segments, "Segments to measure (default: all)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  command->add_option("--reference", flags->reference,
                      "A model to compare with: adds KL divergence and top-1 agreement; its "
                      "activations are bf16 where those of the others are int8");
  add_compute_flags(*command, flags->compute);
  add_common_flags(*command, common);
  set_example(*command,
              "nibble eval Llama-3.2-1B Llama-3.2-1B-w4 --task perplexity --seqlens 512,2048");
  command->final_callback(
      [flags, &common, &action] { action = [flags, &common] { eval(*flags, common); }; });
}

}  // namespace nibble::cli
