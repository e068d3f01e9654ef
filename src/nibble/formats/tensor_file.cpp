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
// then a record for each call of record(). commit() cuts it off.
constexpr std::string_view kJournalTitle = "nibble: unfinished, complete tensors:\n";
constexpr std::size_t kMaxJournal = std::size_t{256} << 20;

std::uint64_t aligned(std::uint64_t offset, std::uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

std::string make_journal_head(const std::string& identity) {
  if (identity.empty()) return {};
  const auto size = std::bit_cast<std::array<char, 8>>(std::uint64_t{identity.size()});
  return std::string(kJournalTitle) + std::string(size.data(), size.size()) + identity;
}

/// 64 bits that tell whether bytes are what they were: FNV-1a (draft-eastlake-fnv, section 2).
std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return hash;
}

struct JournalRecord {
  std::vector<std::uint32_t> tensors;
  std::string note;
};

struct RecordHead {
  std::uint64_t checksum;  // of all behind it
  std::uint32_t n_tensors;
  std::uint32_t note_bytes;
};

std::string to_bytes(const JournalRecord& record) {
  RecordHead head{.checksum = 0,
                  .n_tensors = static_cast<std::uint32_t>(record.tensors.size()),
                  .note_bytes = static_cast<std::uint32_t>(record.note.size())};
  std::string bytes(sizeof head, '\0');
  bytes.append(reinterpret_cast<const char*>(record.tensors.data()),
               record.tensors.size() * sizeof record.tensors[0]);
  bytes += record.note;
  std::memcpy(bytes.data(), &head, sizeof head);
  head.checksum = checksum(std::string_view(bytes).substr(sizeof head.checksum));
  std::memcpy(bytes.data(), &head, sizeof head);
  return bytes;
}

/// The record that `journal` opens with, taken off it; nothing where it is not whole.
std::optional<JournalRecord> take_record(std::string_view& journal) {
  RecordHead head;
  if (journal.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, journal.data(), sizeof head);
  const std::uint64_t tensor_bytes = head.n_tensors * std::uint64_t{sizeof(std::uint32_t)};
  const std::uint64_t bytes = sizeof head + tensor_bytes + head.note_bytes;
  if (bytes > journal.size()) return std::nullopt;
  const std::string_view whole = journal.substr(0, bytes);
  if (checksum(whole.substr(sizeof head.checksum)) != head.checksum) return std::nullopt;
  journal.remove_prefix(bytes);
  JournalRecord record{.tensors = std::vector<std::uint32_t>(head.n_tensors),
                       .note = std::string(whole.substr(sizeof head + tensor_bytes))};
  if (tensor_bytes > 0) {
    std::memcpy(record.tensors.data(), whole.data() + sizeof head, tensor_bytes);
  }
  return record;
}

/// What a file has where `expected` is to be.
enum class Found {
  kWhole,
  kPart,  // its beginning, or zeros: whoever wrote it did not get further
  kOther,
};

Found compare(const OutputFile& file, std::uint64_t offset, std::string_view expected) {
  std::string found(expected.size(), '\0');
  found.resize(file.read_at(offset, std::as_writable_bytes(std::span(found))));
  if (found == expected) return Found::kWhole;
  const bool is_part =
      expected.starts_with(found) || found.find_first_not_of('\0') == std::string::npos;
  return is_part ? Found::kPart : Found::kOther;
}

std::string read_to_end(const OutputFile& file, std::uint64_t offset) {
  constexpr std::size_t kPiece = std::size_t{1} << 16;
  std::string bytes;
  while (bytes.size() < kMaxJournal) {
    const std::size_t had = bytes.size();
    bytes.resize(had + kPiece);
    const auto piece = std::as_writable_bytes(std::span(bytes).subspan(had));
    const std::size_t count = file.read_at(offset + had, piece);
    bytes.resize(had + count);
    if (count < kPiece) break;
  }
  return bytes;
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
      resumption_(resumption),
      journal_head_(make_journal_head(resumption.identity)),
      file_bytes_(layout.file_bytes),
      journal_end_(file_bytes_ + journal_head_.size()) {
  for (TensorExtent& extent : layout.tensors) tensors_.push_back({std::move(extent)});
  for (std::size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].extent.name, i);
  const bool resumes = resumption.resume && !journal_head_.empty();
  output_.emplace(path, resumes ? Leftover::kTake : Leftover::kLeave);
  if (resumes) {
    if (resume(layout.header)) return;
    output_.emplace(path);  // empty
  }
  output_->reserve(file_bytes_);
  output_->write(layout.header);
  output_->write_at(file_bytes_, std::as_bytes(std::span(journal_head_)));
}

/// Takes over what the file holds already; gives whether it holds anything. Throws Error if that is
/// not of this layout and identity.
bool TensorFileWriter::resume(const std::string& header) {
  // Header and journal head are written before all else: where they are not whole, nothing is lost.
  const Found found_header = compare(*output_, 0, header);
  if (found_header == Found::kPart) return false;
  const Found head = compare(*output_, file_bytes_, journal_head_);
  if (found_header == Found::kWhole && head == Found::kPart) return false;
  if (found_header == Found::kOther || head == Found::kOther) {
    keep();
    fail(
        "{}: what was left of it unfinished, {}, is of another model or other options; expected "
        "the same (remove it, or do not resume)",
        path_.string(), output_->temporary().filename().string());
  }
  read_journal();
  return true;
}

void TensorFileWriter::read_journal() {
  is_resumed_ = true;
  keep();
  const std::string journal = read_to_end(*output_, journal_end_);
  std::string_view rest = journal;
  while (std::optional<JournalRecord> record = take_record(rest)) {
    for (const std::uint32_t number : record->tensors) {
      if (number >= tensors_.size()) continue;
      tensors_[number].written = tensors_[number].extent.bytes;
      tensors_[number].is_recorded = true;
    }
    notes_.push_back(std::move(record->note));
  }
  journal_end_ += journal.size() - rest.size();
}

/// What is recorded stays for whoever goes on with it.
void TensorFileWriter::keep() {
  is_kept_ = true;
  output_->keep();
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

void TensorFileWriter::record(std::string_view note) {
  if (journal_head_.empty()) return;
  JournalRecord record{.tensors = {}, .note = std::string(note)};
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    Tensor& tensor = tensors_[i];
    if (tensor.is_recorded || !tensor.is_complete()) continue;
    tensor.is_recorded = true;
    record.tensors.push_back(static_cast<std::uint32_t>(i));
  }
  output_->sync();  // a record must not outlast a crash that its tensors do not
  const std::string bytes = to_bytes(record);
  output_->write_at(journal_end_, std::as_bytes(std::span(bytes)));
  journal_end_ += bytes.size();
  output_->sync();
  since_record_ = Stopwatch();
  if (resumption_.resume) keep();
}

bool TensorFileWriter::is_record_due() const {
  return !journal_head_.empty() && since_record_.seconds() >= resumption_.seconds_between_records;
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
