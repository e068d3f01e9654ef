#include "nibble/models/tensor_source.h"

#include <algorithm>
#include <map>
#include <span>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/gguf_split.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/tensor_table.h"
#include "nibble/formats/torch_bin.h"
#include "nibble/models/gguf_names.h"
#include "nibble/weights/dequantize.h"

namespace nibble {
namespace {

/// The files of a folder: SafetensorsModel or TorchBinModel.
template <typename Model>
class FolderSource : public TensorSource {
 public:
  explicit FolderSource(const std::filesystem::path& folder) : model_(folder) {}

  std::vector<std::string> names() const override { return model_.names(); }
  std::optional<CheckpointTensor> look_up(const std::string& name) const override {
    if (const TensorView* view = model_.find(name))
      return CheckpointTensor{.name = name, .view = *view};
    // Where a model was saved without its head, names lack its prefix, as in OPT's own checkpoints.
    constexpr std::string_view kPrefix = "model.";
    if (name.starts_with(kPrefix)) return look_up(name.substr(kPrefix.size()));
    return std::nullopt;
  }
  void drop(std::span<const std::byte> bytes) const override { model_.drop(bytes); }

 private:
  Model model_;
};

class GgufSource : public TensorSource {
 public:
  GgufSource(std::shared_ptr<const GgufModel> model, const std::vector<GgufModule>& modules)
      : model_(std::move(model)) {
    std::unordered_map<std::string_view, const GgufModule*> known;
    for (const GgufModule& module : modules) known.emplace(module.gguf, &module);
    for (const std::string& name : model_->names()) {
      const std::size_t dot = std::min(name.rfind('.'), name.size());  // of ".weight" or ".bias"
      const auto module = known.find(std::string_view(name).substr(0, dot));
      if (module == known.end()) {
        unknown_.push_back(name);
        continue;
      }
      names_.push_back(module->second->name + name.substr(dot));
      entries_.emplace(names_.back(),
                       Entry{name, module->second->interleaved_heads, module->second->added});
    }
  }

  std::vector<std::string> names() const override { return names_; }
  std::optional<CheckpointTensor> look_up(const std::string& name) const override {
    const auto it = entries_.find(name);
    if (it == entries_.end()) return std::nullopt;
    const Entry& entry = it->second;
    return CheckpointTensor{.name = name,
                            .view = model_->get(entry.gguf_name),
                            .interleaved_heads = entry.interleaved_heads,
                            .added = entry.added};
  }
  void drop(std::span<const std::byte> bytes) const override { model_->drop(bytes); }

 protected:
  std::string name_in_file(const std::string& name) const override {
    return entries_.at(name).gguf_name;
  }
  std::vector<std::string> unknown_names() const override { return unknown_; }

 private:
  struct Entry {
    std::string gguf_name;
    std::int64_t interleaved_heads;
    float added;
  };
  std::shared_ptr<const GgufModel> model_;
  std::vector<std::string> names_;
  std::vector<std::string> unknown_;
  std::map<std::string, Entry> entries_;  // by Hugging Face's name
};

/// What a folder has in place of files with the usual names; "" or opens with "; ".
std::string other_weights(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string extension = entry.path().extension().string();
    for (const char* known : {".safetensors", ".bin", ".pth", ".pt", ".gguf"}) {
      if (extension == known) names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  constexpr std::size_t kShown = 6;
  std::string list;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    list += (i == 0 ? "" : ", ") + quoted_name(names[i]);
  }
  if (names.size() > kShown) list += fmt::format(" and {} more", names.size() - kShown);
  return list.empty() ? "" : "; there is " + list;
}

/// Rows in Hugging Face's order, as the file has their numbers.
void read_stored_rows(const CheckpointTensor& tensor, std::int64_t first, std::int64_t count,
                      float* out) {
  const TensorView& view = tensor.view;
  if (tensor.interleaved_heads == 0) {
    dequantize_rows(view, first, count, out);
    return;
  }
  const std::int64_t head_rows = view.rows() / tensor.interleaved_heads;
  for (std::int64_t i = 0; i < count; ++i) {
    dequantize_rows(view, interleaved_row(first + i, head_rows), 1, out + i * view.cols());
  }
}

void read_stored_vector(const CheckpointTensor& tensor, std::span<float> out) {
  if (tensor.interleaved_heads == 0) {
    dequantize_rows(tensor.view, 0, 1, out.data());
    return;
  }
  std::vector<float> stored(out.size());
  dequantize_rows(tensor.view, 0, 1, stored.data());
  const std::int64_t head_rows = tensor.view.elements() / tensor.interleaved_heads;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] =
        stored[static_cast<std::size_t>(interleaved_row(static_cast<std::int64_t>(i), head_rows))];
  }
}

/// What GGUF's converter added is taken away again.
void take_away_added(const CheckpointTensor& tensor, std::span<float> values) {
  if (tensor.added == 0) return;
  for (float& value : values) value -= tensor.added;
}

}  // namespace

void read_rows(const CheckpointTensor& tensor, std::int64_t first, std::int64_t count, float* out) {
  if (tensor.rows) return tensor.rows->read(first, count, out);
  read_stored_rows(tensor, first, count, out);
  take_away_added(tensor, {out, static_cast<std::size_t>(count * tensor.view.cols())});
}

void read_vector(const CheckpointTensor& tensor, std::span<float> out) {
  read_stored_vector(tensor, out);
  take_away_added(tensor, out);
}

std::optional<CheckpointTensor> TensorSource::find(const std::string& name) const {
  std::optional<CheckpointTensor> found = look_up(name);
  if (found) {
    const std::lock_guard lock(mutex_);
    found_.insert(found->name);
  }
  return found;
}

std::vector<std::string> TensorSource::unread() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> unread = unknown_names();
  for (const std::string& name : names()) {
    if (!found_.contains(name)) unread.push_back(name_in_file(name));
  }
  return unread;
}

std::unique_ptr<TensorSource> open_folder_source(const std::filesystem::path& folder) {
  if (has_model_files<SafetensorsFile>(folder)) {
    return std::make_unique<FolderSource<SafetensorsModel>>(folder);
  }
  if (has_model_files<TorchBinFile>(folder)) {
    return std::make_unique<FolderSource<TorchBinModel>>(folder);
  }
  const std::string others = other_weights(folder);
  fail("{}: no weights found; looked for {}, {}, {} and {}{}", folder.string(),
       SafetensorsFile::kSingle, SafetensorsFile::kIndex, TorchBinFile::kSingle,
       TorchBinFile::kIndex, others);
}

std::unique_ptr<TensorSource> make_gguf_source(std::shared_ptr<const GgufModel> model,
                                               const std::vector<GgufModule>& modules) {
  return std::make_unique<GgufSource>(std::move(model), modules);
}

}  // namespace nibble
