#include "nibble/formats/tensor_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

// Behind the tensors of a file that is not finished stands its journal: a head with the identity,
// then an entry for each tensor that is complete. commit() cuts it off.
constexpr std::string_view kJournalTitle = "nibble: unfinished, complete tensors:\n";

std::uint64_t aligned(std::uint64_t offset, std::uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

std::string make_journal_head(const std::string& identity) {
  if (identity.empty()) return {};
  const auto size = std::bit_cast<std::array<char, 8>>(std::uint64_t{identity.size()});
  return std::string(kJournalTitle) + std::string(size.data(), size.size()) + identity;
}

/// The number of a tensor, twice: an entry that a crash left half written is none.
using JournalEntry = std::array<std::uint32_t, 2>;

JournalEntry make_entry(std::size_t tensor) {
  const auto number = static_cast<std::uint32_t>(tensor);
  return {number, ~number};
}

}  // namespace

void lay_out_tensors(std::vector<TensorExtent>& tensors, std::uint64_t alignment,
                     const std::string& origin) {
  std::unordered_set<std::string_view> names;
  std::uint64_t offset = 0;
  for (TensorExtent& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      fail("{}: two tensors are named {}", origin, quoted_name(tensor.name));
    }
    tensor.offset = aligned(offset, alignment);
    if (__builtin_add_overflow(tensor.offset, tensor.bytes, &offset) || offset > INT64_MAX / 2) {
      fail("{}: the tensors are too large for a file", origin);
    }
  }
}

TensorFileLayout::TensorFileLayout(std::string head, std::vector<TensorExtent> extents,
                                   std::uint64_t alignment)
    : header(std::move(head)), tensors(std::move(extents)), file_bytes(header.size()) {
  for (TensorExtent& tensor : tensors) {
    file_bytes = header.size() + aligned(tensor.offset + tensor.bytes, alignment);
    tensor.offset += header.size();
  }
}

TensorFileWriter::TensorFileWriter(const std::filesystem::path& path, TensorFileLayout layout,
                                   const Resumption& resumption)
    : path_(path),
      journal_head_(make_journal_head(resumption.identity)),
      file_bytes_(layout.file_bytes),
      journal_end_(file_bytes_ + journal_head_.size()) {
  for (TensorExtent& extent : layout.tensors) tensors_.push_back({std::move(extent)});
  for (std::size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].extent.name, i);
  if (resumption.resume && !journal_head_.empty()) {
    output_.emplace(path, Leftover::kTake);
    is_resumed_ = read_journal(layout.header);
    if (is_resumed_) return;
  }
  output_.emplace(path);
  output_->reserve(file_bytes_);
  output_->write(layout.header);
  output_->write_at(file_bytes_, std::as_bytes(std::span(journal_head_)));
}

/// Takes over what the file holds already; gives whether it is one of this layout and identity.
bool TensorFileWriter::read_journal(const std::string& header) {
  const auto holds = [&](std::uint64_t offset, const std::string& expected) {
    std::string found(expected.size(), '\0');
    output_->read_at(offset, std::as_writable_bytes(std::span(found)));
    return found == expected;
  };
  if (!holds(0, header) || !holds(file_bytes_, journal_head_)) return false;
  JournalEntry entry;
  const auto bytes = std::as_writable_bytes(std::span(entry));
  while (output_->read_at(journal_end_, bytes) == sizeof entry && entry[0] < tensors_.size() &&
         entry == make_entry(entry[0])) {
    Tensor& tensor = tensors_[entry[0]];
    tensor.written = tensor.extent.bytes;
    tensor.is_recorded = true;
    journal_end_ += sizeof entry;
  }
  return true;
}

std::size_t TensorFileWriter::find(std::string_view name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail("{}: has no tensor {}", path_.string(), quoted_name(name));
  return found->second;
}

std::vector<std::byte> TensorFileWriter::read(std::string_view name) const {
  const Tensor& tensor = tensors_[find(name)];
  std::vector<std::byte> bytes(tensor.extent.bytes);
  if (!tensor.is_complete() || output_->read_at(tensor.extent.offset, bytes) != bytes.size()) {
    fail("{}: tensor {} has not been written", path_.string(), quoted_name(name));
  }
  return bytes;
}

void TensorFileWriter::append(std::string_view name, std::span<const std::byte> bytes) {
  Tensor& tensor = tensors_[find(name)];
  const std::uint64_t lacking = tensor.extent.bytes - tensor.written;
  if (bytes.size() > lacking) {
    fail("{}: {} bytes more than tensor {} has", path_.string(), bytes.size() - lacking,
         quoted_name(name));
  }
  output_->write_at(tensor.extent.offset + tensor.written, bytes);
  tensor.written += bytes.size();
}

void TensorFileWriter::record() {
  if (journal_head_.empty()) return;
  std::vector<JournalEntry> entries;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    Tensor& tensor = tensors_[i];
    if (tensor.is_recorded || !tensor.is_complete()) continue;
    tensor.is_recorded = true;
    entries.push_back(make_entry(i));
  }
  output_->sync();  // an entry must not outlast a crash that its tensor does not
  const auto bytes = std::as_bytes(std::span(entries));
  output_->write_at(journal_end_, bytes);
  journal_end_ += bytes.size();
  output_->sync();
}

void TensorFileWriter::commit() {
  for (const Tensor& tensor : tensors_) {
    if (tensor.is_complete()) continue;
    fail("{}: tensor {} lacks {} of its {} bytes", path_.string(), quoted_name(tensor.extent.name),
         tensor.extent.bytes - tensor.written, tensor.extent.bytes);
  }
  output_->commit(file_bytes_);
}

}  // namespace nibble
