// nibble report: results of other commands on one page with plots and tables.
#include <fmt/core.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "nibble/core/output.h"
#include "report_page.h"

namespace nibble::cli {
namespace {

constexpr const char kReportNotes[] =
    "RESULT is what bench, eval, profile or quantize print with --json, or the\n"
    "quantization_report.json in a checkpoint. Several models, recipes and machines may\n"
    "stand on one page; each is named by its model, or by its file. The page needs no\n"
    "network, and nothing in a result is run.";

struct ReportFlags {
  std::vector<std::string> results;
  std::string output;
};

/// JSON that may stand in a <script> of data: no "<" ends it or begins a comment.
std::string embeddable(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

Json read_results(const std::vector<std::string>& files) {
  Json results = Json::array();
  for (const std::string& file : files) {
    results.push_back({{"name", file}, {"result", read_json_file(file)}});
  }
  return results;
}

/// Writes the page with each {{place}} filled.
void write_page(OutputFile& file, std::string_view summary, std::string_view results) {
  const auto fill = [&](std::string_view& page, std::string_view place, std::string_view text) {
    const std::size_t at = page.find(place);
    file.write(page.substr(0, at));
    file.write(text);
    page.remove_prefix(at + place.size());
  };
  std::string_view page = report_page();
  fill(page, "{{summary}}", summary);
  fill(page, "{{results}}", results);
  file.write(page);
}

void report(const ReportFlags& flags, const CommonFlags& common) {
  const Json results = read_results(flags.results);
  const std::size_t count = results.size();
  OutputFile file(flags.output);
  write_page(file, fmt::format("{} {}", count, count == 1 ? "result" : "results"),
             embeddable(results));
  const std::uint64_t bytes = file.bytes_written();
  file.commit();
  if (common.json) {
    print_json({{"output", flags.output}, {"results", count}, {"bytes", bytes}});
  } else {
    fmt::print("{}: {} {}, {:.0f} KiB\n", flags.output, count, count == 1 ? "result" : "results",
               static_cast<double>(bytes) / 1024);
  }
}

}  // namespace

void add_report(CommandLine& line, CommonFlags& common) {
  const Command command =
      line.add_command("report", "Put results of other commands on one page with plots");
  auto flags = std::make_shared<ReportFlags>();
  command.add("RESULT", flags->results, "Files of JSON results").required();
  command.add("-o,--output", flags->output, "The HTML file to write").required();
  add_common_flags(command, common);
  command.set_example("nibble report bf16.json w4.json w3.json -o report.html", kReportNotes);
  command.set_action([flags, &common] { report(*flags, common); });
}

}  // namespace nibble::cli
