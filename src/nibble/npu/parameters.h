// The fitted numbers of the time model.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "nibble/npu/device.h"

namespace nibble::npu {

/// Numbers by name.DEVICE.stack[.precision], as data/npu/parameters.json has them:
/// "tL.STX.eager.w8a8" (milliseconds a launch). docs/npu.md says what each is.
class Parameters {
 public:
  /// Those that Nibble was built with, which were fitted to the published tables.
  static const Parameters& fitted();
  /// A JSON object of positive numbers. Throws Error naming `origin` and the key.
  static Parameters parse(std::string_view text, const std::string& origin);
  static Parameters read(const std::filesystem::path& path);

  /// name.DEVICE.stack.precision, else name.DEVICE.stack.
  std::optional<double> find(std::string_view name, const Recipe& recipe) const;
  /// The same; throws Error naming the key where there is none.
  double get(std::string_view name, const Recipe& recipe) const;
  double get(std::string_view name, const Recipe& recipe, double fallback) const;

  const std::map<std::string, double>& values() const { return values_; }

 private:
  std::string origin_;
  std::map<std::string, double> values_;
};

}  // namespace nibble::npu
