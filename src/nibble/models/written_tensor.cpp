#include "nibble/models/written_tensor.h"

#include <nlohmann/json.hpp>

#include "nibble/core/error.h"

namespace nibble {
namespace {

using nlohmann::json;

json to_json(const WrittenTensor& tensor) {
  const RoundingError& error = tensor.error;
  return {tensor.name,          tensor.shape,         tensor.format,
          tensor.bits,          tensor.group_size,    error.squared_error,
          error.squared_weight, error.clipped_groups, error.finite};
}

WrittenTensor from_json(const json& fields) {
  return {.name = fields.at(0),
          .shape = fields.at(1),
          .format = fields.at(2),
          .bits = fields.at(3),
          .group_size = fields.at(4),
          .error = {.squared_error = fields.at(5),
                    .squared_weight = fields.at(6),
                    .clipped_groups = fields.at(7),
                    .finite = fields.at(8)}};
}

}  // namespace

std::string note_of(std::span<const WrittenTensor> tensors) {
  json list = json::array();
  for (const WrittenTensor& tensor : tensors) list.push_back(to_json(tensor));
  return list.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<WrittenTensor> tensors_of(std::span<const std::string> notes,
                                      const std::string& origin) {
  std::vector<WrittenTensor> tensors;
  try {
    for (const std::string& note : notes) {
      for (const json& fields : json::parse(note)) tensors.push_back(from_json(fields));
    }
  } catch (const json::exception&) {
    fail("{}: what was left of it unfinished cannot be read; expected notes on tensors", origin);
  }
  return tensors;
}

}  // namespace nibble
