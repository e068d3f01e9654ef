#include "nibble/models/checkpoint_writer.h"

#include <algorithm>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/formats/safetensors_writer.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

// What is made before it is written, and what a thread makes at a time.
constexpr std::size_t kBatchBytes = std::size_t{8} << 20;
constexpr std::size_t kItemBytes = std::size_t{256} << 10;

void check_sources(const CheckpointDestination& to) {
  for (const fs::path& source : to.sources) check_not_model(source, to.path);
}

/// Tells whether a file is the one that it was, or the files of a folder are.
std::string identity_of(const fs::path& source) {
  std::error_code error;
  std::vector<fs::path> files = {source};
  if (fs::is_directory(source, error)) {
    files.clear();
    for (const auto& entry : fs::directory_iterator(source, error)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
  }
  std::string identity;
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    // Hidden ones come and go: the output itself may be on its way there.
    if (name.starts_with('.') || !fs::is_regular_file(file, error)) continue;
    identity += fmt::format("\n{} {} {}", name, fs::file_size(file, error),
                            fs::last_write_time(file, error).time_since_epoch().count());
  }
  return identity;
}

/// With all else that the bytes depend on.
Resumption complete(const CheckpointDestination& to, std::string_view contents) {
  Resumption resumption = to.resumption;
  if (resumption.identity.empty()) return resumption;
  resumption.identity += '\n';
  resumption.identity += contents;
  for (const fs::path& source : to.sources) resumption.identity += identity_of(source);
  return resumption;
}

/// Removes the files in `folder` but `kept`.
void remove_others(const fs::path& folder, const fs::path& kept) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path() != kept && !entry.is_directory(ignored)) fs::remove(entry.path(), ignored);
  }
}

void require_absent(const CheckpointDestination& to) {
  if (!to.replace && fs::exists(to.path)) {
    fail("{}: exists already (--force replaces it)", to.path.string());
  }
}

std::int64_t pieces_in(std::size_t bytes, std::size_t piece_bytes) {
  return static_cast<std::int64_t>(std::max<std::size_t>(1, bytes / piece_bytes));
}

}  // namespace

CheckpointWriter::CheckpointWriter(const CheckpointDestination& to, const FolderContents& contents)
    : to_(to) {
  const Resumption resumption = complete(to, contents.config);
  const bool resumes = resumption.resume && !resumption.identity.empty();
  folder_.emplace(to.path, to.replace, resumes ? Leftover::kTake : Leftover::kLeave);
  const bool had_files = !fs::is_empty(folder_->temporary());
  try {
    check_sources(to);
    file_ = std::make_unique<SafetensorsWriter>(folder_->temporary() / "model.safetensors",
                                                contents.tensors, contents.metadata, resumption);
  } catch (...) {
    if (had_files) folder_->keep();
    throw;
  }
  remove_others(folder_->temporary(), file_->temporary());
  write_file("config.json", contents.config);
}

CheckpointWriter::CheckpointWriter(const CheckpointDestination& to, const GgufContents& contents)
    : to_(to) {
  require_absent(to);
  check_sources(to);
  file_ =
      std::make_unique<GgufWriter>(to.path, contents.metadata, contents.tensors, complete(to, {}));
}

CheckpointWriter::~CheckpointWriter() {
  if (folder_ && file_ && file_->is_kept()) folder_->keep();
}

void CheckpointWriter::write_file(const std::string& name, std::string_view text) {
  OutputFile output(folder() / name);
  output.write(text);
  output.commit();
}

void CheckpointWriter::write(const std::string& name, ThreadPool& pool,
                             const TensorPieces& pieces) {
  const std::size_t total = file_->bytes_of(name);
  const auto count =
      static_cast<std::int64_t>((total + pieces.piece_bytes - 1) / pieces.piece_bytes);
  const std::int64_t per_batch = pieces_in(kBatchBytes, pieces.piece_bytes);
  const std::int64_t per_item = pieces_in(kItemBytes, pieces.piece_bytes);
  std::vector<std::byte> bytes;
  for (std::int64_t first = 0; first < count; first += per_batch) {
    check_interrupt();
    const std::int64_t end = std::min(count, first + per_batch);
    const std::size_t begin_byte = static_cast<std::size_t>(first) * pieces.piece_bytes;
    bytes.resize(std::min(total, static_cast<std::size_t>(end) * pieces.piece_bytes) - begin_byte);
    pool.parallel_for((end - first + per_item - 1) / per_item, [&](std::int64_t item, int) {
      const std::int64_t item_end = std::min(end, first + (item + 1) * per_item);
      for (std::int64_t piece = first + item * per_item; piece < item_end; ++piece) {
        const std::size_t at = static_cast<std::size_t>(piece - first) * pieces.piece_bytes;
        pieces.make(piece,
                    std::span(bytes).subspan(at, std::min(pieces.piece_bytes, bytes.size() - at)));
      }
    });
    if (pieces.made) pieces.made(first, end - first);
    file_->append(name, bytes);
  }
}

void CheckpointWriter::commit() {
  if (!folder_) require_absent(to_);  // it may have come meanwhile
  file_->commit();
  if (folder_) folder_->commit();
}

}  // namespace nibble
