// The JSON header of a safetensors file as it stands: types and spelling checked, numbers not yet
// held against the file. Read event by event: a header of many megabytes makes no tree of nodes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

/// Bytes of a header at the most: the official reader takes no more.
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;

struct SafetensorsHeader {
  struct Tensor {
    std::string name;
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;  // bytes from the end of the header
    std::uint64_t end = 0;
  };
  std::vector<Tensor> tensors;  // in the order of the header
  std::map<std::string, std::string> metadata;
};

/// Parses the header's text. Throws Error, which `origin` (the file's name) opens.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& origin);

}  // namespace nibble
