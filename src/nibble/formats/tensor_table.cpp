#include "nibble/formats/tensor_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "nibble/core/error.h"

namespace nibble {
namespace {

/// By place in the file; an empty tensor comes before the one that begins where it lies.
bool lies_before(const TensorEntry& a, const TensorEntry& b) {
  if (a.view.data != b.view.data) return std::less<>{}(a.view.data, b.view.data);
  return a.view.bytes < b.view.bytes;
}

}  // namespace

TensorTable::TensorTable(std::vector<TensorEntry> entries, const MappedFile& file,
                         std::string supported, SharedBytes shared)
    : origin_(file.path().string()),
      supported_(std::move(supported)),
      entries_(std::move(entries)) {
  std::stable_sort(entries_.begin(), entries_.end(), lies_before);
  index_.reserve(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const bool added = index_.emplace(entries_[i].name, i).second;
    if (!added) fail("{}: two tensors are named {}", origin_, quoted_name(entries_[i].name));
  }
  if (shared == SharedBytes::kAllowed) return;
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    const TensorView& before = entries_[i - 1].view;
    if (before.data + before.bytes > entries_[i].view.data) {
      fail("{}: the bytes of the tensors {} and {} overlap", origin_,
           quoted_name(entries_[i - 1].name), quoted_name(entries_[i].name));
    }
  }
}

const TensorView* TensorTable::find(std::string_view name) const {
  const auto it = index_.find(name);
  if (it == index_.end()) return nullptr;
  const TensorEntry& entry = entries_[it->second];
  if (!entry.unsupported.empty()) {
    fail("{}: tensor {} has type {}, which is not supported; supported: {}", origin_,
         quoted_name(name), entry.unsupported, supported_);
  }
  return &entry.view;
}

const TensorView& TensorTable::get(std::string_view name) const {
  const TensorView* view = find(name);
  if (view == nullptr) fail("{}: has no tensor {}", origin_, quoted_name(name));
  return *view;
}

std::int64_t checked_elements(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(elements, dim, &elements)) return -1;
  }
  return elements;
}

std::string quoted_name(std::string_view name) {
  constexpr std::size_t kShown = 120;
  std::string quoted = "\"";
  for (const char c : name.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      quoted += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {  // bytes of 0x80 and more: UTF-8, as a rule
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
  }
  quoted += '"';
  return name.size() <= kShown ? quoted : fmt::format("{}... ({} bytes)", quoted, name.size());
}

}  // namespace nibble
