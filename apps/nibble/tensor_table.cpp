#include "tensor_table.h"

#include <fmt/core.h>

#include "nibble/core/progress.h"

namespace nibble::cli {
namespace {

std::string dimensions(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

}  // namespace

Table tensor_table(const std::vector<StoredParameter>& tensors) {
  Table table({{"tensors", "name", TableColumn::Align::kLeft, 7},
               {.title = "", .key = "count", .min_width = 6},
               {.title = "shape", .key = "shape", .min_width = 16},
               {.title = "format", .key = "format", .min_width = 9},
               {.title = "parameters", .key = "parameters", .min_width = 14},
               {.title = "size", .key = "bytes", .min_width = 11},
               {.title = "bits/weight", .key = "bits_per_weight", .min_width = 11}});
  for (const TensorGroup& group : group_tensors(tensors)) {
    const StoredParameter& tensor = group.first;
    const std::int64_t bytes = group.count * tensor.bytes;
    table.add_row({group.name,
                   {group.count, group.count > 1 ? fmt::format("{} x", group.count) : ""},
                   dimensions(tensor.shape),
                   tensor.group_size > 0 ? fmt::format("{} g{}", tensor.format, tensor.group_size)
                                         : tensor.format,
                   group.count * tensor.count(),
                   {bytes, human_bytes(static_cast<double>(bytes))},
                   {tensor.bits_per_weight(), 3}});
  }
  return table;
}

}  // namespace nibble::cli
