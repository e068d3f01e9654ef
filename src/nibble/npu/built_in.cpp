#include "nibble/npu/built_in.h"

#include "nibble/core/embedded_file.h"

NIBBLE_EMBED_FILE(npu_parameters, NIBBLE_NPU_DATA "/parameters.json");
NIBBLE_EMBED_FILE(npu_published, NIBBLE_NPU_DATA "/published.csv");

namespace nibble::npu {

std::string_view built_in_parameters() {
  return npu_parameters;
}

std::string_view built_in_published_tables() {
  return npu_published;
}

}  // namespace nibble::npu
