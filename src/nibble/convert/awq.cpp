// AutoAWQ's "gemm" checkpoints (https://github.com/casper-hansen/AutoAWQ,
// awq/modules/linear/gemm.py and awq/utils/packing_utils.py). Of a layer of `out` x `in` features
// and groups of G inputs:
//
//   qweight int32 (in, out / 8)      a word holds eight outputs of one input, 4 bits each: output
//   qzeros  int32 (in / G, out / 8)  8 c + kOrder[i] in bits 4 i to 4 i + 3 of word c
//   scales  float16 (in / G, out)    weight = (q - zero) * scale
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "nibble/convert/hugging_face.h"
#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/stopwatch.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr std::array<int, 8> kOrder = {0, 2, 4, 6, 1, 3, 5, 7};
constexpr std::int64_t kOutputsPerWord = 8;

/// Where output `i` of eight lies in a word.
constexpr std::array<int, 8> shifts_by_output() {
  std::array<int, 8> shifts{};
  for (int i = 0; i < 8; ++i)
    shifts[static_cast<std::size_t>(kOrder[static_cast<std::size_t>(i)])] = 4 * i;
  return shifts;
}
constexpr std::array<int, 8> kShifts = shifts_by_output();

/// The layers that stay integers. Head and embedding, which AutoAWQ does not pack, are none of
/// them.
bool stays_packed(const StoredParameter& parameter) {
  const ModuleRole role = parameter.module.role;
  return parameter.is_quantized && role != ModuleRole::kHead && role != ModuleRole::kEmbedding;
}

/// The group size of all layers: the format has one, so that the largest is taken into which
/// all can be cut.
int common_group_size(const Checkpoint& checkpoint,
                      const std::vector<StoredParameter>& parameters) {
  int smallest = 0;
  for (const StoredParameter& parameter : parameters) {
    if (!stays_packed(parameter)) continue;
    const IntegerFormat format = *integer_format(checkpoint, parameter.module.linear());
    const std::string where =
        fmt::format("{}: layer \"{}\"", checkpoint.path().string(), parameter.module.name);
    if (format.bits != 4) fail("{} has {} bits, AWQ's layout expects 4", where, format.bits);
    if (format.group_size == 0 || format.group_size % 32 != 0) {
      fail("{}: AWQ's layout expects groups of 32 or more consecutive inputs", where);
    }
    if (parameter.shape[0] % kOutputsPerWord != 0) {
      fail("{} has {} outputs, AWQ's layout expects a multiple of {}", where, parameter.shape[0],
           kOutputsPerWord);
    }
    smallest = std::gcd(smallest, format.group_size);
  }
  if (smallest == 0) {
    fail("{}: has no layers of 4 bits (nibble quantize makes them), which --to awq expects",
         checkpoint.path().string());
  }
  return smallest;
}

Json quantization_config(const Checkpoint& checkpoint,
                         const std::vector<StoredParameter>& parameters, int group_size) {
  Json dense = Json::array();
  for (const LinearSpec& linear : checkpoint.spec().linears()) {
    const bool packed =
        std::any_of(parameters.begin(), parameters.end(), [&](const StoredParameter& parameter) {
          return stays_packed(parameter) && parameter.module.name == linear.name;
        });
    if (!packed) dense.push_back(linear.name);
  }
  return {{"quant_method", "awq"},    {"version", "gemm"},  {"bits", 4},
          {"group_size", group_size}, {"zero_point", true}, {"modules_to_not_convert", dense}};
}

std::vector<TensorDeclaration> declare(const std::vector<StoredParameter>& parameters,
                                       int group_size) {
  std::vector<TensorDeclaration> all;
  for (const StoredParameter& parameter : parameters) {
    if (!stays_packed(parameter)) {
      all.push_back({parameter.name, DType::kF16, parameter.shape});
      continue;
    }
    const std::int64_t out = parameter.shape[0];
    const std::int64_t in = parameter.shape[1];
    const std::string module = parameter.module.name;
    all.push_back({module + ".qweight", DType::kI32, {in, out / kOutputsPerWord}});
    all.push_back({module + ".qzeros", DType::kI32, {in / group_size, out / kOutputsPerWord}});
    all.push_back({module + ".scales", DType::kF16, {in / group_size, out}});
  }
  return all;
}

/// The three tensors of one layer.
struct AwqLayer {
  std::vector<std::uint32_t> qweight;  // (in, out / 8)
  std::vector<std::uint32_t> qzeros;   // (in / G, out / 8)
  std::vector<Float16> scales;         // (in / G, out)
};

/// Puts one row (output) into its place.
void add_row(const ParameterRow& from, std::int64_t row, std::int64_t out, int group_size,
             AwqLayer& layer) {
  const auto words = static_cast<std::size_t>(out / kOutputsPerWord);
  const auto word = static_cast<std::size_t>(row / kOutputsPerWord);
  const int shift = kShifts[static_cast<std::size_t>(row % kOutputsPerWord)];
  for (std::size_t col = 0; col < from.q.size(); ++col) {
    layer.qweight[col * words + word] |= static_cast<std::uint32_t>(from.q[col]) << shift;
  }
  const std::size_t groups = from.q.size() / static_cast<std::size_t>(group_size);
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t source =
        group * static_cast<std::size_t>(group_size) / static_cast<std::size_t>(from.group_size);
    layer.qzeros[group * words + word] |= static_cast<std::uint32_t>(from.zeros[source]) << shift;
    layer.scales[group * static_cast<std::size_t>(out) + static_cast<std::size_t>(row)] =
        to_float16(from.scales[source]);
  }
}

/// What float16 makes of the scales, which are bfloat16 in our own format.
struct ScaleCheck {
  std::int64_t inexact = 0;   // those that lose digits: magnitudes below 2^-14
  std::int64_t infinite = 0;  // those of 65520 and more
};

class AwqExport {
 public:
  AwqExport(const Checkpoint& checkpoint, Compute& compute, CheckpointWriter& writer,
            int group_size)
      : checkpoint_(checkpoint),
        compute_(compute),
        writer_(writer),
        group_size_(group_size),
        progress_("exporting", static_cast<std::int64_t>(writer.tensors().file_bytes()), "B") {}

  void write(const StoredParameter& parameter) {
    const ParameterReader reader(checkpoint_, compute_, parameter);
    if (stays_packed(parameter)) {
      write_packed(parameter, reader);
    } else {
      write_dense(parameter, reader);
    }
  }

  ExportReport take_report() {
    report_.bytes_out = static_cast<std::int64_t>(writer_.tensors().file_bytes());
    if (inexact_ > 0) {
      report_.notes.push_back(fmt::format(
          "{} scales lie below float16's normal range and lost digits; the relative error says how "
          "much",
          inexact_));
    }
    return std::move(report_);
  }

 private:
  void write_dense(const StoredParameter& parameter, const ParameterReader& reader) {
    const auto encode = [](const ParameterRow& row, std::byte* to) {
      return encode_dense(DType::kF16, row, to);
    };
    const RoundingError error = reader.write({.row_bytes = reader.cols() * 2, .encode = encode},
                                             writer_, parameter.name, progress_);
    report_.tensors.push_back(
        {.name = parameter.name, .shape = parameter.shape, .format = "F16", .error = error});
  }

  /// Eight rows share a word, so that a thread takes 16 at a time.
  void write_packed(const StoredParameter& parameter, const ParameterReader& reader) {
    const std::int64_t out = parameter.shape[0];
    const std::int64_t in = parameter.shape[1];
    AwqLayer layer;
    layer.qweight.resize(static_cast<std::size_t>(in * out / kOutputsPerWord));
    layer.qzeros.resize(static_cast<std::size_t>(in / group_size_ * out / kOutputsPerWord));
    layer.scales.resize(static_cast<std::size_t>(in / group_size_ * out));
    std::vector<RoundingError> costs(static_cast<std::size_t>(out));
    std::vector<ScaleCheck> checks(static_cast<std::size_t>(out));
    compute_.pool().parallel_for((out + kRowBlock - 1) / kRowBlock, [&](std::int64_t block, int) {
      const std::int64_t first = block * kRowBlock;
      reader.visit(first, std::min(kRowBlock, out - first),
                   [&](std::int64_t row, const ParameterRow& from) {
                     const auto at = static_cast<std::size_t>(row);
                     add_row(from, row, out, group_size_, layer);
                     costs[at] = cost_of(from, checks[at]);
                   });
    });
    reader.drop_integers();
    RoundingError total;
    for (const RoundingError& cost : costs) total += cost;
    count_scales(parameter, checks);
    write_tensor(parameter.module.name + ".qweight", layer.qweight);
    write_tensor(parameter.module.name + ".qzeros", layer.qzeros);
    write_tensor(parameter.module.name + ".scales", layer.scales);
    report_.tensors.push_back({.name = parameter.name,
                               .shape = parameter.shape,
                               .format = fmt::format("AWQ w4 g{}", group_size_),
                               .bits = 4,
                               .group_size = group_size_,
                               .error = total});
  }

  static RoundingError cost_of(const ParameterRow& row, ScaleCheck& check) {
    RoundingError cost;
    for (std::size_t group = 0; group < row.scales.size(); ++group) {
      const float stored = to_float(to_float16(row.scales[group]));
      check.inexact += stored != row.scales[group] ? 1 : 0;
      check.infinite += std::isfinite(stored) ? 0 : 1;
      const double change = static_cast<double>(stored) - static_cast<double>(row.scales[group]);
      const auto size = static_cast<std::size_t>(row.group_size);
      for (std::size_t i = group * size; i < (group + 1) * size; ++i) {
        const double steps = row.q[i] - row.zeros[group];
        cost.squared_error += steps * change * steps * change;
        cost.squared_weight +=
            static_cast<double>(row.values[i]) * static_cast<double>(row.values[i]);
      }
    }
    return cost;
  }

  void count_scales(const StoredParameter& parameter, const std::vector<ScaleCheck>& checks) {
    std::int64_t infinite = 0;
    for (const ScaleCheck& check : checks) {
      inexact_ += check.inexact;
      infinite += check.infinite;
    }
    if (infinite > 0) {
      fail(
          "{}: layer \"{}\" has {} scales outside the range of float16, which AWQ's layout expects",
          checkpoint_.path().string(), parameter.module.name, infinite);
    }
  }

  template <typename T>
  void write_tensor(const std::string& name, const std::vector<T>& values) {
    check_interrupt();
    writer_.tensors().append(name, std::as_bytes(std::span(values)));
    progress_.advance(static_cast<std::int64_t>(values.size() * sizeof(T)));
  }

  const Checkpoint& checkpoint_;
  Compute& compute_;
  CheckpointWriter& writer_;
  int group_size_;
  Progress progress_;
  ExportReport report_;
  std::int64_t inexact_ = 0;
};

}  // namespace

ExportReport export_awq(const Checkpoint& checkpoint, Compute& compute, const fs::path& out,
                        bool replace) {
  const Stopwatch stopwatch;
  const std::vector<StoredParameter> parameters = parameters_to_export(checkpoint);
  const int group_size = common_group_size(checkpoint, parameters);
  Json config = export_config(checkpoint, DType::kF16);
  config["quantization_config"] = quantization_config(checkpoint, parameters, group_size);
  CheckpointWriter writer({.path = out, .replace = replace, .sources = checkpoint.source_paths()},
                          FolderContents{.config = json_text(config) + "\n",
                                         .tensors = declare(parameters, group_size)});
  write_exported_files(checkpoint, writer);
  AwqExport exporter(checkpoint, compute, writer, group_size);
  for (const StoredParameter& parameter : parameters) exporter.write(parameter);
  ExportReport report = exporter.take_report();
  writer.commit();
  if (integer_format(checkpoint, checkpoint.spec().head)) {
    report.notes.emplace_back(
        "AWQ's layout leaves the head dense: it is written as float16 of its dequantized values");
  }
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace nibble
