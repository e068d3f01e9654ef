#include "command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
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

std::optional<ActivationType> ComputeFlags::activation_type() const {
  if (activations.empty()) return std::nullopt;
  return activations == "f32"    ? ActivationType::kF32
         : activations == "int8" ? ActivationType::kInt8
                                 : ActivationType::kBF16;
}

KvType ComputeFlags::kv_type() const {
  return kv == "f32" ? KvType::kF32 : kv == "int8" ? KvType::kInt8 : KvType::kBF16;
}

ComputeOptions ComputeFlags::options() const {
  return {.dtype = parse_dtype(dtype),
          .activations = activation_type(),
          .kv = kv_type(),
          .fusion = fusion};
}

void add_common_flags(const Command& command, CommonFlags& flags) {
  command.add_switch("--json", flags.json, "Print one JSON document and nothing else");
  command
      .add("--threads", flags.threads,
           "Threads to compute with (default: the physical cores this process may use)")
      .in_range(1, 1024);
  command.add("--seed", flags.seed, "Seed of everything random").check(check_seed).show_default();
  command.add_switch("-q,--quiet", flags.quiet, "No remarks and no progress on standard error");
  command.add_switch("-v,--verbose", flags.verbose, "More remarks on standard error");
}

void add_dtype_flag(const Command& command, std::string& dtype, const std::string& description) {
  command.add("--dtype", dtype, description).one_of({"bf16", "f16", "f32"}).show_default();
}

void add_compute_flags(const Command& command, ComputeFlags& flags) {
  add_dtype_flag(command, flags.dtype);
  command
      .add("--activations", flags.activations,
           "What inputs of linear layers are rounded to (int8: a scale for each token and "
           "weight group; weights that are not integers, and the head, take bf16 then; "
           "default: what the model's config.json says of a layer, else bf16)")
      .one_of({"bf16", "f32", "int8"});
  command
      .add("--kv", flags.kv, "What the KV cache holds (int8: a scale for each position and head)")
      .one_of({"bf16", "f32", "int8"})
      .show_default();
  command
      .add("-c,--context", flags.context,
           "Positions the KV cache has room for (default: the model's context)")
      .in_range(1, std::int64_t{1} << 30);
}

void add_model_argument(const Command& command, std::string& model) {
  command
      .add("MODEL", model,
           "A model folder, a .gguf file, or a name under $NIBBLE_MODELS or in the "
           "Hugging Face cache")
      .required();
}

void add_text_argument(const Command& command, TextFlags& flags, const std::string& name,
                       const std::string& description) {
  const Flag text = command.add(name, flags.text, description + " (- reads standard input)");
  const Flag file = command.add("-f,--file", flags.file, "Read it from a file (or -)");
  file.excludes(text);
  command.check([&flags, text, file, name] {
    flags.given = text.given();
    if (!flags.given && !file.given()) throw UsageError(name + " or --file is required");
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
      throw UsageError(
          fmt::format("{}: expected integers of {} to {} with commas between them, found \"{}\"",
                      option, lo, hi, item));
    }
    numbers.push_back(number);
    at = end + 1;
  }
  return numbers;
}

std::int64_t parse_size(const std::string& option, const std::string& text) {
  const std::string units = "KMGT";
  double number = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, number);
  std::string_view unit(at, static_cast<std::size_t>(end - at));
  if (unit.ends_with("iB") && unit.size() == 3) {
    unit.remove_suffix(2);
  } else if (unit.ends_with('B')) {
    unit.remove_suffix(1);
  }
  const std::size_t power = unit.size() == 1 ? units.find(unit[0]) : std::string::npos;
  const bool is_unit = unit.empty() || power != std::string::npos;
  const double bytes =
      is_unit && !unit.empty() ? std::ldexp(number, 10 * (static_cast<int>(power) + 1)) : number;
  if (error != std::errc() || !is_unit || !(bytes >= 1) || bytes > 0x1p62) {
    throw UsageError(fmt::format("{}: expected a size such as 500M or 4G, found {}", option, text));
  }
  return static_cast<std::int64_t>(bytes);
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
