#include "nibble/eval/fingerprint.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "nibble/core/dtype.h"
#include "nibble/core/sha256.h"

namespace nibble {
namespace {

// Of each tensor, as many bytes at as many places.
constexpr std::size_t kSampleBytes = 64;
constexpr std::size_t kSamples = 16;

void add_samples(std::span<const std::byte> bytes, std::string& text) {
  const std::size_t step = std::max<std::size_t>(bytes.size() / kSamples, kSampleBytes);
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    const std::size_t count = std::min(kSampleBytes, bytes.size() - at);
    text.append(reinterpret_cast<const char*>(bytes.data()) + at, count);
  }
}

}  // namespace

std::string model_fingerprint(const Checkpoint& checkpoint) {
  std::string text = checkpoint.config().dump(-1, ' ', false, Json::error_handler_t::replace);
  for (const std::string& name : checkpoint.tensors().names()) {
    const auto tensor = checkpoint.tensors().find(name);
    if (!tensor) continue;
    text += fmt::format("\n{} {}", name, dtype_name(tensor->view.dtype));
    for (const std::int64_t size : tensor->view.shape) text += fmt::format(" {}", size);
    if (!tensor->rows) add_samples(std::span(tensor->view.data, tensor->view.bytes), text);
  }
  return sha256_hex(text);
}

}  // namespace nibble
