#include "command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/mapped_file.h"

namespace nibble::cli {
namespace {

constexpr std::size_t kMaxText = std::size_t{1} << 30;  // as of a text file

std::string read_standard_input() {
  std::string text;
  std::array<char, 1 << 16> buffer{};
  for (;;) {
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    const int error = errno;
    check_interrupt();
    if (count == 0) return text;
    if (count < 0 && error == EINTR) continue;
    if (count < 0) fail("standard input: cannot be read: {}", std::strerror(error));
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (text.size() > kMaxText) fail("standard input: more than {} bytes of text", kMaxText);
  }
}

/// CLI11 would take -1 and 2^64 for 2^64 - 1.
std::string check_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  const bool good = error == std::errc() && stop == text.data() + text.size();
  return good ? "" : fmt::format("expected an integer of 0 to {}, found {}", UINT64_MAX, text);
}

}  // namespace

DType parse_dtype(const std::string& name) {
  return name == "f32" ? DType::kF32 : name == "f16" ? DType::kF16 : DType::kBF16;
}

ActivationType ComputeFlags::activation_type() const {
  return activations == "f32"    ? ActivationType::kF32
         : activations == "int8" ? ActivationType::kInt8
                                 : ActivationType::kBF16;
}

KvType ComputeFlags::kv_type() const {
  return kv == "f32" ? KvType::kF32 : kv == "int8" ? KvType::kInt8 : KvType::kBF16;
}

ComputeOptions ComputeFlags::options() const {
  return {.dtype = parse_dtype(dtype), .activations = activation_type(), .kv = kv_type()};
}

CLI::Validator in_range(std::int64_t lo, std::int64_t hi) {
  return CLI::Range(lo, hi).description("");
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  constexpr std::size_t kLine = 80;
  const std::size_t width = kLine - column_width_;
  const std::string text = option->get_description();
  std::string out;
  std::size_t begin = 0;
  while (text.size() - begin > width) {
    const std::size_t blank = text.rfind(' ', begin + width);
    if (blank == std::string::npos || blank <= begin) break;  // one long word
    out += text.substr(begin, blank - begin) + "\n";
    begin = blank + 1;
  }
  return out + text.substr(begin);
}

void add_common_flags(CLI::App& command, CommonFlags& flags) {
  command.add_flag("--json", flags.json, "Print one JSON document and nothing else");
  command
      .add_option("--threads", flags.threads,
                  "Threads to compute with (default: the physical cores this process may use)")
      ->check(in_range(1, 1024));
  command.add_option("--seed", flags.seed, "Seed of everything random")
      ->check(check_seed)
      ->capture_default_str();
  command.add_flag("-q,--quiet", flags.quiet, "No remarks and no progress on standard error");
  command.add_flag("-v,--verbose", flags.verbose, "More remarks on standard error");
}

void add_dtype_flag(CLI::App& command, std::string& dtype, const std::string& description) {
  command.add_option("--dtype", dtype, description)
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str();
}

void add_compute_flags(CLI::App& command, ComputeFlags& flags) {
  add_dtype_flag(command, flags.dtype);
  command
      .add_option("--activations", flags.activations,
                  "What inputs of linear layers are rounded to (int8: a scale for each token and "
                  "weight group; weights that are not integers, and the head, take bf16 then)")
      ->check(CLI::IsMember({"bf16", "f32", "int8"}))
      ->capture_default_str();
  command
      .add_option("--kv", flags.kv,
                  "What the KV cache holds (int8: a scale for each position and head)")
      ->check(CLI::IsMember({"bf16", "f32", "int8"}))
      ->capture_default_str();
  command
      .add_option("-c,--context", flags.context,
                  "Positions the KV cache has room for (default: the model's context)")
      ->check(in_range(1, std::int64_t{1} << 30));
}

void add_model_argument(CLI::App& command, std::string& model) {
  command
      .add_option("MODEL", model,
                  "A model folder, a .gguf file, or a name under $NIBBLE_MODELS or in the "
                  "Hugging Face cache")
      ->required();
}

void set_example(CLI::App& command, const std::string& example, const std::string& notes) {
  command.footer((notes.empty() ? "" : notes + "\n\n") + "Example:\n  " + example);
}

void add_text_argument(CLI::App& command, TextFlags& flags, const std::string& name,
                       const std::string& description) {
  CLI::Option* text =
      command.add_option(name, flags.text, description + " (- reads standard input)");
  CLI::Option* file = command.add_option("-f,--file", flags.file, "Read it from a file (or -)");
  file->excludes(text);
  command.parse_complete_callback([&flags, text, file, name] {
    flags.given = text->count() > 0;
    if (!flags.given && file->count() == 0) throw CLI::RequiredError(name + " or --file");
  });
}

std::string TextFlags::read() const {
  if (given && text != "-") return text;
  if (given || file == "-") return read_standard_input();
  return read_text_file(file, kMaxText);
}

std::vector<std::int64_t> parse_integers(const std::string& option, const std::string& text,
                                         std::int64_t lo, std::int64_t hi) {
  std::vector<std::int64_t> numbers;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string_view item = std::string_view(text).substr(at, end - at);
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(item.data(), item.data() + item.size(), number);
    if (error != std::errc() || stop != item.data() + item.size() || number < lo || number > hi) {
      throw CLI::ValidationError(
          fmt::format("{}: expected integers of {} to {} with commas between them, found \"{}\"",
                      option, lo, hi, item));
    }
    numbers.push_back(number);
    at = end + 1;
  }
  return numbers;
}

void print_json(const Json& json) {
  // Text of a model may hold bytes that are no UTF-8: JSON has only U+FFFD for them.
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) fail("standard output: cannot be written");  // and nobody reads the rest
}

}  // namespace nibble::cli
