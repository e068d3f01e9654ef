// Perplexity, and distance from a reference.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "eval_tasks.h"
#include "nibble/core/error.h"
#include "nibble/core/progress.h"
#include "nibble/core/sha256.h"
#include "nibble/eval/protocols.h"
#include "nibble/eval/text.h"
#include "nibble/models/token_cost.h"
#include "table.h"

namespace nibble::cli {
namespace {

namespace fs = std::filesystem;

/// What one length of segments gives.
struct Measured {
  std::int64_t seqlen = 0;
  PerplexityResult result;
  std::int64_t tokens = 0;  // of the whole text
  std::int64_t words = 0;   // of kWord only: of the documents that were measured
  std::int64_t bytes = 0;   // likewise

  double bits_per_byte() const {
    return result.nll * static_cast<double>(words) / static_cast<double>(bytes) / std::log(2.0);
  }
};

/// One model's column of the table.
struct Column {
  std::string name;
  std::string title;  // "": none was given
  double bytes = 0;   // its linear layers, as read for a token
  double bits_per_weight = 0;
  std::string activations;
  std::vector<Measured> results;
};

PerplexityProtocol parse_protocol(const std::string& name) {
  return name == "paper"      ? PerplexityProtocol::kPaper
         : name == "llamacpp" ? PerplexityProtocol::kLlamaCpp
         : name == "word"     ? PerplexityProtocol::kWord
                              : PerplexityProtocol::kSegments;
}

/// Where the text comes from: --text, standard input or the default.
std::string read_text(const PerplexityFlags& flags) {
  const PerplexityProtocol protocol = parse_protocol(flags.protocol);
  if (flags.text == "-") {
    return prepare_evaluation_text(TextFlags{.text = "-", .file = "", .given = true}.read(),
                                   protocol, flags.rows);
  }
  const fs::path path = flags.text.empty() ? default_evaluation_text() : fs::path(flags.text);
  return read_evaluation_text(path, protocol, flags.rows);
}

/// The longest segment that all models take, the reference too, and what bounds it.
struct LengthLimit {
  std::int64_t tokens;
  std::string what;
};

LengthLimit length_limit(const PerplexityFlags& flags, std::int64_t asked_context) {
  LengthLimit limit{INT64_MAX, ""};
  if (asked_context > 0) limit = {asked_context, "--context"};
  std::vector<std::string> names;
  for (const PerplexityColumn& column : flags.columns) names.push_back(column.model);
  if (!flags.reference.empty()) names.push_back(flags.reference);
  for (const std::string& name : names) {
    const std::int64_t context = Checkpoint(locate_model(name)).spec().context;
    if (context < limit.tokens) limit = {context, "the context of " + name};
  }
  return limit;
}

/// What a protocol takes if nothing else is asked for: kWord's tool takes the model's context.
std::int64_t default_length(PerplexityProtocol protocol) {
  return protocol == PerplexityProtocol::kWord       ? INT64_MAX
         : protocol == PerplexityProtocol::kLlamaCpp ? 512
                                                     : 2048;
}

/// The same for all models, so that a row of the table compares like with like.
std::vector<std::int64_t> segment_lengths(const PerplexityFlags& flags, std::int64_t context) {
  const LengthLimit limit = length_limit(flags, context);
  if (flags.seqlens.empty() && flags.seqlen == 0) {
    return {std::min(default_length(parse_protocol(flags.protocol)), limit.tokens)};
  }
  std::vector<std::int64_t> lengths = flags.seqlens;
  if (lengths.empty()) lengths = {flags.seqlen};
  for (const std::int64_t length : lengths) {
    if (length > limit.tokens) {
      fail("segments of {} tokens are longer than {}, which is {}", length, limit.what,
           limit.tokens);
    }
  }
  return lengths;
}

/// What the models of one command have in common.
struct Setup {
  ThreadPool& pool;
  PerplexityProtocol protocol;
  std::string text;
  std::vector<std::int64_t> lengths;  // of segments, in tokens
  ComputeFlags compute;
  std::unique_ptr<Model> reference;  // may be null
  std::int64_t max_segments;
  bool show_running;  // print a line a segment
};

Setup make_setup(const PerplexityFlags& flags, const ComputeFlags& compute, bool json,
                 ThreadPool& pool) {
  Setup setup{.pool = pool,
              .protocol = parse_protocol(flags.protocol),
              .text = read_text(flags),
              .lengths = segment_lengths(flags, compute.context),
              .compute = compute,
              .reference = nullptr,
              .max_segments = flags.n_segments,
              .show_running = !json && flags.format.is_for_people() && flags.columns.size() == 1 &&
                              flags.seqlens.size() <= 1};
  if (!flags.reference.empty()) {
    ComputeOptions options = compute.options();
    if (options.activations) options.activations = without_int8(*options.activations);
    setup.reference = std::make_unique<Model>(locate_model(flags.reference), pool, options);
  }
  return setup;
}

/// The windows of a length; the rest of what is measured but its result is put into `measured`.
std::vector<ScoredWindow> make_windows(const Setup& setup, const Tokenizer& tokenizer,
                                       Measured& measured) {
  if (setup.protocol == PerplexityProtocol::kWord) {
    WordWindows words = word_windows(setup.text, tokenizer, measured.seqlen, setup.max_segments);
    measured.tokens = words.tokens;
    measured.words = words.words;
    measured.bytes = words.bytes;
    return std::move(words.windows);
  }
  const bool llamacpp = setup.protocol == PerplexityProtocol::kLlamaCpp;
  const std::vector<std::int32_t> tokens =
      tokenizer.encode(setup.text, {.parse_special = !llamacpp});  // as its tool
  measured.tokens = std::ssize(tokens);
  return llamacpp ? llamacpp_windows(tokens, tokenizer, measured.seqlen, setup.max_segments)
                  : segment_windows(tokens, measured.seqlen, setup.max_segments);
}

Measured measure_length(const Setup& setup, Model& model, const Tokenizer& tokenizer,
                        const std::string& label, std::int64_t seqlen) {
  Measured measured{.seqlen = seqlen};
  const std::vector<ScoredWindow> windows = make_windows(setup, tokenizer, measured);
  const auto segments = std::count_if(windows.begin(), windows.end(),
                                      [](const ScoredWindow& window) { return window.units > 0; });
  Progress progress(fmt::format("{} x {}", label, seqlen), segments, "segments");
  const auto on_segment = [&](const PerplexityResult& running) {
    if (setup.show_running) {
      hide_progress();
      fmt::print("[{}] {:.4f}\n", running.segments, running.perplexity());
      std::fflush(stdout);
    }
    progress.set_note(fmt::format("perplexity {:.4f}", running.perplexity()));
    progress.advance(1);
  };
  measured.result = measure_perplexity(model, windows, setup.reference.get(), on_segment);
  return measured;
}

Column measure(const Setup& setup, const PerplexityColumn& asked) {
  ComputeFlags compute = setup.compute;
  if (!asked.activations.empty()) compute.activations = asked.activations;
  Model model(locate_model(asked.model), setup.pool, compute.options());
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  Column column{.name = asked.model, .title = asked.title};
  column.activations = activation_type_name(model.activations());
  const TokenCost token = token_cost(model.checkpoint(), compute.options().dtype);
  column.bytes = token.bytes;
  column.bits_per_weight = token.bits_per_weight();
  const std::string label =
      asked.title.empty() ? fs::path(asked.model).filename().string() : asked.title;
  for (const std::int64_t seqlen : setup.lengths) {
    column.results.push_back(measure_length(setup, model, tokenizer, label, seqlen));
  }
  return column;
}

Json results_json(const Column& column, bool with_reference) {
  Json results = Json::array();
  for (const Measured& measured : column.results) {
    const PerplexityResult& result = measured.result;
    Json entry = {{"seqlen", measured.seqlen},
                  {"segments", result.segments},
                  {"perplexity", result.perplexity()},
                  {"nll", result.nll}};
    if (with_reference) {
      entry["kl_divergence"] = result.kl_divergence;
      entry["top1_agreement"] = result.top1_agreement;
    }
    if (measured.words > 0) {
      entry["words"] = measured.words;
      entry["bits_per_byte"] = measured.bits_per_byte();
      entry["byte_perplexity"] = std::exp2(measured.bits_per_byte());
    }
    results.push_back(std::move(entry));
  }
  return results;
}

Json report_json(const PerplexityFlags& flags, const std::string& text,
                 const std::vector<Column>& columns) {
  Json json = {{"protocol", flags.protocol},
               {"text_sha256", sha256_hex(text)},
               {"activations", columns[0].activations}};
  const bool with_reference = !flags.reference.empty();
  if (columns.size() == 1) {
    json["model"] = columns[0].name;
    json["bits_per_weight"] = columns[0].bits_per_weight;
    json["tokens"] = columns[0].results[0].tokens;
    json["results"] = results_json(columns[0], with_reference);
    return json;
  }
  for (const Column& column : columns) {
    json["models"].push_back({{"model", column.name},
                              {"tokens", column.results[0].tokens},
                              {"bits_per_weight", column.bits_per_weight},
                              {"activations", column.activations},
                              {"results", results_json(column, with_reference)}});
    if (!column.title.empty()) json["models"].back()["title"] = column.title;
  }
  return json;
}

/// What the columns are called: their titles, or the last part of the model's path, where that
/// tells them apart.
std::vector<std::string> column_names(const std::vector<Column>& columns) {
  std::vector<std::string> names;
  for (const Column& column : columns) {
    names.push_back(column.title.empty() ? fs::path(column.name).filename().string()
                                         : column.title);
    const bool is_new = std::find(names.begin(), names.end() - 1, names.back()) == names.end() - 1;
    if (names.back().empty() || !is_new) names.back() = column.name;
  }
  return names;
}

/// A table with a row for each length and a column for each model.
class Comparison {
 public:
  explicit Comparison(const std::vector<Column>& columns)
      : columns_(columns), table_(table_columns(columns), 2) {}

  Table make(bool with_reference) {
    for (std::size_t r = 0; r < columns_[0].results.size(); ++r) {
      const auto result = [&](const Column& column) { return column.results[r].result; };
      const Measured& first = columns_[0].results[r];
      add_row(fmt::format("{}, {} tokens", first.words > 0 ? "word perplexity" : "perplexity",
                          first.seqlen),
              [&](const Column& column) { return TableCell(result(column).perplexity(), 4); });
      if (first.words > 0) {
        add_row("  bits a byte", [&](const Column& column) {
          return TableCell(column.results[r].bits_per_byte(), 4);
        });
      }
      if (!with_reference) continue;
      add_row("  KL divergence (nats)",
              [&](const Column& column) { return TableCell(result(column).kl_divergence, 6); });
      add_row("  top-1 agreement (%)", [&](const Column& column) {
        return TableCell(100 * result(column).top1_agreement, 2);
      });
    }
    add_row("activations", [](const Column& column) { return TableCell(column.activations); });
    add_row("weights read a token", [](const Column& column) {
      return TableCell(column.bytes, human_bytes(column.bytes));
    });
    add_row("bits a weight",
            [](const Column& column) { return TableCell(column.bits_per_weight, 3); });
    return std::move(table_);
  }

 private:
  static std::vector<TableColumn> table_columns(const std::vector<Column>& columns) {
    std::vector<TableColumn> out = {{"", "measure", TableColumn::Align::kLeft, 24}};
    for (const std::string& name : column_names(columns)) {
      out.push_back({.title = name, .key = name, .min_width = 12});
    }
    return out;
  }

  template <typename Cell>
  void add_row(const std::string& label, Cell cell) {
    std::vector<TableCell> cells = {label};
    for (const Column& column : columns_) cells.push_back(cell(column));
    table_.add_row(std::move(cells));
  }

  const std::vector<Column>& columns_;
  Table table_;
};

}  // namespace

void eval_perplexity(const PerplexityFlags& flags, const ComputeFlags& compute,
                     const CommonFlags& common) {
  ThreadPool pool(common.threads);
  const Setup setup = make_setup(flags, compute, common.json, pool);
  std::vector<Column> columns;
  for (const PerplexityColumn& column : flags.columns) columns.push_back(measure(setup, column));
  if (common.json) {
    print_json(report_json(flags, setup.text, columns));
  } else {
    if (setup.show_running && flags.format.name == "markdown") print_text("\n");
    print_table(Comparison(columns).make(setup.reference != nullptr), flags.format);
  }
}

}  // namespace nibble::cli
