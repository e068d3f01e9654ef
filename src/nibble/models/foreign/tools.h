// The tools whose checkpoints are read, as quantization.cpp lists them.
#pragma once

#include <memory>

#include "nibble/models/foreign/quantization.h"

namespace nibble::foreign {

std::unique_ptr<const ForeignQuantization> read_awq(const JsonObject& config);
std::unique_ptr<const ForeignQuantization> read_gptq(const JsonObject& config);
std::unique_ptr<const ForeignQuantization> read_compressed_tensors(const JsonObject& config);
std::unique_ptr<const ForeignQuantization> read_auto_round(const JsonObject& config);
std::unique_ptr<const ForeignQuantization> read_fp8(const JsonObject& config);
std::unique_ptr<const ForeignQuantization> read_modelopt(const JsonObject& config);

}  // namespace nibble::foreign
