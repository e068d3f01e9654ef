// nibble export: writes a model for use in other engines.
#include <fmt/core.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/convert/export.h"
#include "nibble/core/log.h"
#include "nibble/core/process.h"
#include "nibble/core/progress.h"
#include "nibble/kernels/select.h"

namespace nibble::cli {
namespace {

constexpr const char kExportNotes[] =
    "hf: a Hugging Face folder of dense weights, bf16 or f16, from any model.\n"
    "awq: AutoAWQ's layout, of layers of 4 bits; all else, the head too, becomes f16.\n"
    "gguf: for llama.cpp. Without --type, layers of 3 and 4 bits become Q4_1 and\n"
    "those of 8 bits Q8_0, with the integers they have, and all else BF16. With a\n"
    "type of 4 bits, an embedding or head that is not quantized becomes Q8_0. Rows\n"
    "that are not whole blocks of Q4_K become Q4_1, those that are not blocks of 32\n"
    "BF16.";

struct ExportFlags {
  std::string model;
  std::string output;
  std::string to;
  std::string type;
  bool force = false;
};

const std::map<std::string, DType>& types() {
  static const std::map<std::string, DType> types = {
      {"bf16", DType::kBF16}, {"f16", DType::kF16},   {"Q8_0", DType::kQ8_0},
      {"Q4_0", DType::kQ4_0}, {"Q4_1", DType::kQ4_1}, {"Q4_K", DType::kQ4_K}};
  return types;
}

/// Types that go with --to; the others are wrong usage.
void check_type(const ExportFlags& flags) {
  if (flags.type.empty() || flags.to == "gguf") return;
  if (flags.to == "awq") {
    throw UsageError("--type: does not go with --to awq, whose layers have 4 bits");
  }
  if (flags.type != "bf16" && flags.type != "f16") {
    throw UsageError("--type: --to hf takes bf16 or f16, found " + flags.type);
  }
}

ExportReport run_export(const ExportFlags& flags, const Checkpoint& checkpoint, Compute& compute) {
  if (flags.to == "awq") return export_awq(checkpoint, compute, flags.output, flags.force);
  std::optional<DType> type;
  if (!flags.type.empty()) type = types().at(flags.type);
  if (flags.to == "gguf") {
    return export_gguf(checkpoint, compute, type, flags.output, flags.force);
  }
  return export_hugging_face(checkpoint, compute, type.value_or(DType::kBF16), flags.output,
                             flags.force);
}

/// What a kind of tensor adds up to.
struct TypeTotal {
  int count = 0;
  RoundingError error;
};

void print_report(const ExportFlags& flags, const ExportReport& report) {
  std::map<std::string, TypeTotal> totals;
  for (const WrittenTensor& tensor : report.tensors) {
    TypeTotal& total = totals[tensor.format];
    ++total.count;
    total.error += tensor.error;
  }
  fmt::print("{}: {} tensors, {}, in {:.1f} s\n", flags.output, report.tensors.size(),
             human_bytes(static_cast<double>(report.bytes_out)), report.seconds);
  for (const auto& [type, total] : totals) {
    fmt::print("  {:<12} {:>5}  relative error {:.3g}\n", type, total.count,
               total.error.relative());
  }
}

Json report_json(const ExportFlags& flags, const ExportReport& report) {
  Json tensors = Json::array();
  for (const WrittenTensor& tensor : report.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"type", tensor.format},
                       {"shape", tensor.shape},
                       {"rel_error", tensor.error.relative()}});
  }
  return {{"output", flags.output},        {"to", flags.to},
          {"seconds", report.seconds},     {"peak_rss_bytes", peak_rss_bytes()},
          {"bytes_out", report.bytes_out}, {"notes", report.notes},
          {"tensors", std::move(tensors)}};
}

void run(const ExportFlags& flags, const CommonFlags& common) {
  const Checkpoint checkpoint(locate_model(flags.model));
  ThreadPool pool(common.threads);
  Compute compute(select_kernels(), pool);
  const ExportReport report = run_export(flags, checkpoint, compute);
  for (const std::string& note : report.notes) warn("{}", note);
  common.json ? print_json(report_json(flags, report)) : print_report(flags, report);
}

}  // namespace

void add_export(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("export", "Write a model for use in other engines");
  auto flags = std::make_shared<ExportFlags>();
  add_model_argument(command, flags->model);
  command.add("--to", flags->to, "The form to write").required().one_of({"gguf", "hf", "awq"});
  command
      .add("--type", flags->type,
           "What weights become (hf: bf16, the default, or f16; gguf: see below)")
      .one_of({"bf16", "f16", "Q8_0", "Q4_0", "Q4_1", "Q4_K"});
  command.add("-o,--output", flags->output, "The folder or, of gguf, the file to write").required();
  command.add_switch("--force", flags->force, "Replace the output if it exists");
  command.check([flags] { check_type(*flags); });
  add_common_flags(command, common);
  command.set_example("nibble export Llama-3.2-1B-w4 --to gguf -o Llama-3.2-1B-w4.gguf",
                      kExportNotes);
  command.set_action([flags, &common] { run(*flags, common); });
}

}  // namespace nibble::cli
