// nibble npu: what a model would launch on the NPUs of the Ryzen AI line, and how long it would
// take there, modelled.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/mapped_file.h"
#include "nibble/models/architecture.h"
#include "nibble/models/checkpoint.h"
#include "nibble/npu/built_in.h"
#include "nibble/npu/launches.h"
#include "nibble/npu/published.h"
#include "table.h"

namespace nibble::cli {
namespace {

constexpr const char kNpuNotes[] =
    "No such device is needed, and none is used: all times are modelled. The model\n"
    "was fitted to published tables of Phoenix (PHX), Hawk Point (HPT) and Strix\n"
    "(STX): models of 1B to 8B, prompts of up to 4000 tokens, groups of 32 and 128.\n\n"
    "devices   the devices and the parameters of each stack of software\n"
    "launches  what a pass over -p tokens of MODEL launches, with real and padded\n"
    "          work; MODEL may be a folder with a config.json only\n"
    "sheet     the published tables, and beside them what the model gives";

struct NpuFlags {
  std::string what;
  std::string model;
  std::int64_t prompt = 1;
  std::string device = "stx";
  std::string precision = "w4abf16";
  std::string algorithm;  // "": pergrp, or of w8 smoothquant
  int group_size = 128;
  bool flash_attention_plus = false;
  bool fast = false;
  std::string parameters;
  std::string seed_tables;
};

npu::Parameters parameters_of(const NpuFlags& flags) {
  return flags.parameters.empty() ? npu::Parameters::fitted()
                                  : npu::Parameters::read(flags.parameters);
}

void show_devices(const NpuFlags& flags, const CommonFlags& common) {
  const npu::Parameters parameters = parameters_of(flags);
  if (common.json) {
    Json devices = Json::array();
    for (const npu::Device device : npu::all_devices()) {
      const npu::Hardware& hardware = npu::hardware(device);
      devices.push_back({{"device", npu::device_name(device)},
                         {"name", hardware.full_name},
                         {"int8_tops", hardware.int8_tops},
                         {"compute_tiles", hardware.tiles},
                         {"l2_kib", hardware.l2_kib}});
    }
    print_json({{"devices", std::move(devices)}, {"parameters", parameters.values()}});
    return;
  }
  Table devices({{"device", "device", TableColumn::Align::kLeft},
                 {"name", "name", TableColumn::Align::kLeft},
                 {"int8 TOPS", "int8_tops"},
                 {"compute tiles", "compute_tiles"},
                 {"L2 KiB", "l2_kib"}},
                2);
  for (const npu::Device device : npu::all_devices()) {
    const npu::Hardware& hardware = npu::hardware(device);
    devices.add_row({npu::device_name(device), hardware.full_name, hardware.int8_tops,
                     hardware.tiles, hardware.l2_kib});
  }
  Table fitted({{"parameter", "parameter", TableColumn::Align::kLeft}, {"value", "value"}}, 2);
  for (const auto& [name, value] : parameters.values()) {
    fitted.add_row({name, TableCell(value, fmt::format("{:.4g}", value))});
  }
  print_text(devices.text());
  print_text(fmt::format(
      "\nfitted to published tables: 1B to 8B, up to 4000 tokens, groups of 32 and 128\n\n{}",
      fitted.text()));
}

ModelSpec spec_of(const std::string& name) {
  const std::filesystem::path path = locate_model(name);
  const std::filesystem::path config_path = path / "config.json";
  if (!std::filesystem::exists(config_path)) return Checkpoint(path).spec();
  const Json json = read_json_file(config_path);
  return spec_of_config(JsonObject(json, config_path.string()));
}

npu::Recipe recipe_of(const NpuFlags& flags) {
  const npu::Precision precision = *npu::find_precision(flags.precision);
  const bool w4 = precision == npu::Precision::kW4ABF16;
  const std::string algorithm = !flags.algorithm.empty() ? flags.algorithm
                                : w4                     ? "pergrp"
                                                         : "smoothquant";
  npu::Recipe recipe = npu::make_recipe(
      *npu::find_device(flags.device), flags.fast ? npu::Stack::kFast : npu::Stack::kEager,
      {.name = algorithm, .precision = precision, .group_size = flags.group_size});
  recipe.flash_attention_plus = flags.flash_attention_plus;
  return recipe;
}

void show_launches(const NpuFlags& flags, const CommonFlags& common) {
  const npu::ModelShape shape = npu::shape_of(spec_of(flags.model));
  const npu::Recipe recipe = recipe_of(flags);
  const npu::LaunchCount count = npu::count_launches(shape, recipe, flags.prompt);
  const double ms = npu::TimeModel(shape, recipe, parameters_of(flags)).prompt_ms(flags.prompt);
  if (common.json) {
    print_json({{"model", flags.model},
                {"device", npu::device_name(recipe.device)},
                {"stack", npu::stack_name(recipe.stack)},
                {"precision", npu::precision_name(recipe.precision)},
                {"tokens", flags.prompt},
                {"launches", count.launches},
                {"head_launches", count.head_launches},
                {"weights", count.weights},
                {"padded_weights", count.padded_weights},
                {"operations", count.operations},
                {"padded_operations", count.padded_operations},
                {"padded_bytes", count.padded_bytes},
                {"modelled_ms", ms}});
    return;
  }
  const auto padding = [](double padded, double real) {
    return fmt::format("{:.2f} times what is needed", padded / real);
  };
  fmt::print("{}: a pass of {} {} on {}, {}, {} kernels\n", flags.model, flags.prompt,
             flags.prompt == 1 ? "token" : "tokens", npu::device_name(recipe.device),
             npu::precision_name(recipe.precision), npu::stack_name(recipe.stack));
  fmt::print("  launches        {} of the blocks, {} of the head{}\n", count.launches,
             count.head_launches, recipe.head_on_npu ? "" : " (it stays on the CPU)");
  fmt::print(
      "  weights         {:.3f} for {:.3f} billion of the blocks, {}\n",
      static_cast<double>(count.padded_weights) / 1e9, static_cast<double>(count.weights) / 1e9,
      padding(static_cast<double>(count.padded_weights), static_cast<double>(count.weights)));
  fmt::print("  operations      {:.3f} for {:.3f} tera, {}\n", count.padded_operations / 1e12,
             count.operations / 1e12, padding(count.padded_operations, count.operations));
  fmt::print("  weights read    {:.3f} GB\n", count.padded_bytes / 1e9);
  fmt::print("  time, modelled  {:.1f} ms\n", ms);
}

Json row_json(const npu::ComparedRow& row) {
  const npu::PublishedRow& published = row.published;
  Json outlier = Json::array();
  if (published.prefill_is_outlier()) outlier.push_back("prefill");
  if (published.token_is_outlier()) outlier.push_back("token");
  return {{"sheet", published.sheet},
          {"table", published.table},
          {"row", published.row},
          {"model", published.model},
          {"device", npu::device_name(published.recipe.device)},
          {"stack", npu::stack_name(published.recipe.stack)},
          {"precision", npu::precision_name(published.recipe.precision)},
          {"algorithm", published.algorithm},
          {"task", published.task},
          {"prompt", published.completion.prompt},
          {"new_tokens", published.completion.new_tokens},
          {"total_s", published.total_s},
          {"prefill_ms", published.prefill_ms},
          {"token_ms", published.token_ms},
          {"model_total_s", row.modelled.total_s(published.completion)},
          {"model_prefill_ms", row.modelled.prefill_ms},
          {"model_token_ms", row.modelled.token_ms},
          {"outlier", std::move(outlier)}};
}

TableCell percent(double error, bool is_outlier) {
  return {100 * error, fmt::format("{:+.1f}{}", 100 * error, is_outlier ? "*" : " ")};
}

void print_sheet_table(const std::vector<npu::ComparedRow>& rows) {
  const npu::PublishedRow& first = rows.front().published;
  fmt::print(
      "\nsheet {}, table {}: {}, {}, {}{}, task {}; modelled: {}, {} kernels\n\n", first.sheet,
      first.table, first.model, npu::precision_name(first.recipe.precision), first.algorithm,
      first.recipe.group_size > 0 ? fmt::format(" g{}", first.recipe.group_size) : "", first.task,
      npu::device_name(first.recipe.device), npu::stack_name(first.recipe.stack));
  Table table({{"prompt", "prompt"},
               {"prefill ms", "prefill_ms"},
               {"modelled", "model_prefill_ms"},
               {"% ", "prefill_error"},
               {"token ms", "token_ms"},
               {"modelled", "model_token_ms"},
               {"% ", "token_error"}},
              2);
  for (const npu::ComparedRow& row : rows) {
    const npu::PublishedRow& published = row.published;
    table.add_row({published.completion.prompt, TableCell(published.prefill_ms, 1),
                   TableCell(row.modelled.prefill_ms, 1),
                   percent(row.prefill_error(), published.prefill_is_outlier()),
                   TableCell(published.token_ms, 1), TableCell(row.modelled.token_ms, 1),
                   percent(row.token_error(), published.token_is_outlier())});
  }
  print_text(table.text());
}

/// Rows that stand in one table of one sheet.
std::vector<std::vector<npu::ComparedRow>> tables_of(const std::vector<npu::ComparedRow>& rows) {
  std::vector<std::vector<npu::ComparedRow>> tables;
  for (const npu::ComparedRow& row : rows) {
    const bool is_new = tables.empty() ||
                        tables.back().front().published.sheet != row.published.sheet ||
                        tables.back().front().published.table != row.published.table;
    if (is_new) tables.emplace_back();
    tables.back().push_back(row);
  }
  return tables;
}

void show_sheet(const NpuFlags& flags, const CommonFlags& common) {
  const std::vector<npu::PublishedRow> published =
      flags.seed_tables.empty()
          ? npu::parse_published(npu::built_in_published_tables(), "the built-in tables")
          : npu::parse_published(read_text_file(flags.seed_tables), flags.seed_tables);
  const std::vector<npu::ComparedRow> rows = npu::compare(published, parameters_of(flags));
  const auto share = [&](double bound, bool excepted) {
    return npu::share_within(rows, bound, excepted);
  };
  if (common.json) {
    Json json = {{"rows", Json::array()},
                 {"within_10_percent", share(0.10, true)},
                 {"within_15_percent", share(0.15, true)},
                 {"within_15_percent_with_outliers", share(0.15, false)}};
    for (const npu::ComparedRow& row : rows) json["rows"].push_back(row_json(row));
    print_json(json);
    return;
  }
  fmt::print("Published times beside modelled ones; nothing here was measured on this machine.\n");
  for (const std::vector<npu::ComparedRow>& table : tables_of(rows)) print_sheet_table(table);
  fmt::print(
      "\n{} rows: {:.1f} % with both numbers within 10 %, {:.1f} % within 15 % (* excepted; with\n"
      "them {:.1f} %)\n",
      rows.size(), 100 * share(0.10, true), 100 * share(0.15, true), 100 * share(0.15, false));
}

void show(const NpuFlags& flags, const CommonFlags& common) {
  if (flags.what == "devices") {
    show_devices(flags, common);
  } else if (flags.what == "launches") {
    show_launches(flags, common);
  } else {
    show_sheet(flags, common);
  }
}

void add_recipe_flags(const Command& command, NpuFlags& flags) {
  command.add("-p,--prompt", flags.prompt, "Tokens of the pass that launches counts")
      .in_range(1, 1 << 20)
      .show_default();
  command.add("--device", flags.device, "The device").one_of({"phx", "hpt", "stx"}).show_default();
  command.add("--precision", flags.precision, "Of weights and activations")
      .one_of({"w4abf16", "w8a8", "w8a16"})
      .show_default();
  command
      .add("--algorithm", flags.algorithm,
           "awq leaves the head to the CPU (default: pergrp, or smoothquant of w8)")
      .one_of({"awq", "awqplus", "pergrp", "smoothquant"});
  command.add("--group-size", flags.group_size, "Input channels that share a scale")
      .one_of({32, 64, 128})
      .show_default();
  command.add_switch("--flash_attention_plus", flags.flash_attention_plus,
                     "q, k and v are one product");
  command.add_switch("--fast", flags.fast, "The kernels of all --fast_* flags (w4abf16 on stx)");
}

}  // namespace

void add_npu(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("npu", "Model a run on an NPU (Ryzen AI)");
  auto flags = std::make_shared<NpuFlags>();
  command.add("WHAT", flags->what, "What to show")
      .one_of({"devices", "launches", "sheet"})
      .required();
  const Flag model = command.add("MODEL", flags->model, "Of launches: a model");
  add_recipe_flags(command, *flags);
  command.add("--parameters", flags->parameters,
              "A file of the time model's parameters (default: the built-in ones)");
  command.add("--seed-tables", flags->seed_tables,
              "Of sheet: a CSV file of published tables (default: the built-in ones)");
  command.check([flags, model] {
    if ((flags->what == "launches") != model.given()) {
      throw UsageError(model.given() ? flags->what + " takes no model"
                                     : "launches takes a model: nibble npu launches MODEL");
    }
  });
  add_common_flags(command, common);
  command.set_example("nibble npu launches Llama-3.2-1B -p 512 --device stx", kNpuNotes);
  command.set_action([flags, &common] { show(*flags, common); });
}

}  // namespace nibble::cli
