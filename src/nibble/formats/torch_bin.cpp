#include "nibble/formats/torch_bin.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/pickle.h"
#include "nibble/formats/zip_archive.h"

namespace nibble {
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr std::string_view kTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kOldTensor = "torch._utils._rebuild_tensor";
constexpr std::string_view kParameter = "torch._utils._rebuild_parameter";

struct StorageClass {
  std::string_view global;
  DType dtype;
};
constexpr std::array kStorages = {StorageClass{"torch.FloatStorage", DType::kF32},
                                  StorageClass{"torch.HalfStorage", DType::kF16},
                                  StorageClass{"torch.BFloat16Storage", DType::kBF16},
                                  StorageClass{"torch.DoubleStorage", DType::kF64},
                                  StorageClass{"torch.CharStorage", DType::kI8},
                                  StorageClass{"torch.ByteStorage", DType::kU8},
                                  StorageClass{"torch.ShortStorage", DType::kI16},
                                  StorageClass{"torch.IntStorage", DType::kI32},
                                  StorageClass{"torch.LongStorage", DType::kI64},
                                  StorageClass{"torch.BoolStorage", DType::kBool}};

constexpr std::array kGlobals = [] {
  std::array<std::string_view, kStorages.size() + 4> names{};
  for (std::size_t i = 0; i < kStorages.size(); ++i) names[i] = kStorages[i].global;
  names[kStorages.size()] = kOrderedDict;
  names[kStorages.size() + 1] = kTensor;
  names[kStorages.size() + 2] = kOldTensor;
  names[kStorages.size() + 3] = kParameter;
  return names;
}();

constexpr std::size_t kMaxTorchDimensions = 64;
constexpr std::size_t kMaxPickle =
    100'000'000;  // of the archive's data.pkl, as a safetensors header

// The older format: five pickles (the magic number, the version, the sizes of C's types, the state
// dict, the keys of the storages), then for each key a number of elements and these. torch,
// serialization.py: _legacy_save.
constexpr std::string_view kTorchMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::int64_t kLegacyProtocol = 1001;

/// A tensor as the pickle describes it.
struct Tensor {
  std::string_view name;
  PickleValue::Id id = 0;
  std::string_view storage;  // its key
  DType dtype = DType::kF32;
  std::int64_t storage_elements = 0;
  std::int64_t offset = 0;  // elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // elements
};

/// The tensors that a pickle describes.
class PickledTensors {
 public:
  PickledTensors(const Pickle& pickle, const std::string& origin)
      : pickle_(pickle), origin_(origin) {}

  /// Those of a state dict, by their names.
  std::vector<Tensor> of_state_dict() {
    const PickleValue& root = pickle_[pickle_.root];
    if (root.kind != Kind::kDict && !is_call(root, kOrderedDict)) {
      fail("{}: holds no dictionary of tensors (a state dict)", origin_);
    }
    for (std::size_t i = 0; i < root.items.size(); i += 2) {
      const PickleValue& key = pickle_[root.items[i]];
      name_ = key.text;
      const bool found = add(root.items[i + 1]);
      if (found && key.kind != Kind::kString) refuse("its name is not a string");
    }
    return std::move(tensors_);
  }

  /// All that there are, without names.
  std::vector<Tensor> of_anything() {
    name_ = "in a container";
    for (std::size_t id = 0; id < pickle_.values.size(); ++id) {
      add(static_cast<PickleValue::Id>(id));
    }
    return std::move(tensors_);
  }

 private:
  static bool is_call(const PickleValue& value, std::string_view global) {
    return value.kind == Kind::kCall && value.text == global;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    fail("{}: tensor {}: {}", origin_, quoted_name(name_), what);
  }
  const PickleValue& argument(const PickleValue& call, std::size_t index) const {
    const std::vector<PickleValue::Id>& items = pickle_[call.arguments].items;
    if (index >= items.size()) refuse("the pickle's call has too few arguments");
    return pickle_[items[index]];
  }
  std::int64_t count(const PickleValue& value) const {
    if (value.kind != Kind::kInt || value.integer < 0) refuse("a size is not a positive number");
    return value.integer;
  }
  std::vector<std::int64_t> counts(const PickleValue& value) const {
    if (value.kind != Kind::kTuple) refuse("a shape is not a tuple");
    if (value.items.size() > kMaxTorchDimensions) {
      refuse(fmt::format("more than {} dimensions", kMaxTorchDimensions));
    }
    std::vector<std::int64_t> numbers;
    for (const PickleValue::Id item : value.items) numbers.push_back(count(pickle_[item]));
    return numbers;
  }

  /// What is no tensor (a number, a list) is left out: no model's weights are in it.
  bool add(PickleValue::Id id) {
    const PickleValue& value = pickle_[id];
    const PickleValue* tensor = &value;
    if (is_call(value, kParameter)) tensor = &argument(value, 0);
    if (!is_call(*tensor, kTensor) && !is_call(*tensor, kOldTensor)) return false;
    Tensor& out = tensors_.emplace_back();
    out.name = name_;
    out.id = id;
    read_storage(argument(*tensor, 0), out);
    out.offset = count(argument(*tensor, 1));
    out.shape = counts(argument(*tensor, 2));
    out.strides = counts(argument(*tensor, 3));
    if (out.shape.size() != out.strides.size()) refuse("as many strides as sizes are needed");
    return true;
  }

  /// ('storage', class, key, device, elements) and, in the older format, a view or None.
  void read_storage(const PickleValue& value, Tensor& out) const {
    if (value.kind != Kind::kPersistent || pickle_[value.arguments].kind != Kind::kTuple ||
        pickle_[value.arguments].items.size() < 5) {
      refuse("its storage is not one of torch.save's");
    }
    const PickleValue& type = argument(value, 1);
    const auto known = std::find_if(kStorages.begin(), kStorages.end(), [&](const auto& storage) {
      return type.kind == Kind::kGlobal && storage.global == type.text;
    });
    const PickleValue& key = argument(value, 2);
    if (argument(value, 0).text != "storage" || known == kStorages.end() ||
        key.kind != Kind::kString) {
      refuse("its storage is not one of torch.save's");
    }
    if (pickle_[value.arguments].items.size() > 5 && argument(value, 5).kind != Kind::kNone) {
      refuse("its storage is a view of another, which is not supported (PyTorch before 0.4)");
    }
    out.storage = key.text;
    out.dtype = known->dtype;
    out.storage_elements = count(argument(value, 4));
  }

  const Pickle& pickle_;
  const std::string& origin_;
  std::string_view name_;  // of the tensor at hand
  std::vector<Tensor> tensors_;
};

/// What a tensor is made from: its description and its storage's bytes.
struct Source {
  const Tensor& tensor;
  std::span<const std::byte> storage;
  const std::string& origin;

  [[noreturn]] void refuse(std::string_view what) const {
    fail("{}: tensor {}: {}", origin, quoted_name(tensor.name), what);
  }

  /// Bytes of the tensor, once it is known to lie inside its storage and to have no more elements.
  std::size_t checked_bytes() const {
    const std::int64_t size = dtype_layout(tensor.dtype).bytes;
    const std::int64_t bytes = checked_tensor_bytes(tensor.dtype, tensor.shape);
    const auto there = static_cast<std::int64_t>(storage.size()) / size;
    if (tensor.storage_elements > there) {
      refuse(fmt::format("a storage of {} elements, the file has {} of them",
                         tensor.storage_elements, there));
    }
    std::int64_t last = tensor.offset;  // the last element that is used
    bool fits = bytes >= 0 && bytes / size <= tensor.storage_elements;
    for (std::size_t i = 0; fits && bytes > 0 && i < tensor.shape.size(); ++i) {
      std::int64_t step = 0;
      fits = !__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) &&
             !__builtin_add_overflow(last, step, &last);
    }
    fits = fits && tensor.offset <= tensor.storage_elements &&
           (bytes == 0 || last < tensor.storage_elements);
    if (!fits) {
      refuse(
          fmt::format("shape {} with strides {} from element {} on does not lie in a storage of "
                      "{} elements",
                      shape_to_string(tensor.shape), shape_to_string(tensor.strides), tensor.offset,
                      tensor.storage_elements));
    }
    return static_cast<std::size_t>(bytes);
  }

  bool is_contiguous() const {
    std::int64_t expected = 1;
    for (std::size_t i = tensor.shape.size(); i-- > 0;) {
      if (tensor.shape[i] == 0) return true;
      if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
      expected *= tensor.shape[i];
    }
    return true;
  }

  const std::byte* data() const {
    return storage.data() + tensor.offset * dtype_layout(tensor.dtype).bytes;
  }

  /// The elements one after the other. out: checked_bytes(), more than 0.
  void gather(std::byte* out) const {
    const auto size = static_cast<std::size_t>(dtype_layout(tensor.dtype).bytes);
    std::vector<std::int64_t> index(tensor.shape.size());
    std::vector<std::int64_t> strides = tensor.strides;
    for (std::size_t d = 0; d < strides.size(); ++d) {
      if (tensor.shape[d] == 1) strides[d] = 0;  // may be any number, and is never taken
    }
    for (std::int64_t at = 0;;) {
      std::memcpy(out, data() + static_cast<std::size_t>(at) * size, size);
      out += size;
      std::size_t d = tensor.shape.size();
      while (d-- > 0) {
        at += strides[d];
        if (++index[d] < tensor.shape[d]) break;
        at -= strides[d] * tensor.shape[d];
        index[d] = 0;
        if (d == 0) return;
      }
    }
  }
};

TensorEntry make_entry(const Source& source, std::size_t limit, std::vector<Buffer>& copies) {
  const std::size_t bytes = source.checked_bytes();
  TensorEntry entry{.name = std::string(source.tensor.name)};
  entry.view = {.dtype = source.tensor.dtype,
                .shape = source.tensor.shape,
                .data = source.data(),
                .bytes = bytes};
  if (source.is_contiguous()) return entry;
  std::size_t copied = bytes;
  for (const Buffer& copy : copies) copied += copy.size();
  if (copied > limit)
    source.refuse("not contiguous, and more such tensors than the file has bytes");
  copies.emplace_back(bytes);
  source.gather(copies.back().data());
  entry.view.data = copies.back().data();
  return entry;
}

using Storages = std::map<std::string_view, std::span<const std::byte>>;

/// The folder in the archive that holds data.pkl, with its slash: any name, or none.
std::string find_prefix(const ZipArchive& archive, const std::string& origin) {
  constexpr std::string_view kPickle = "data.pkl";
  std::optional<std::string> prefix;
  for (const std::string_view name : archive.names()) {
    if (!name.ends_with(kPickle)) continue;
    const std::string_view before = name.substr(0, name.size() - kPickle.size());
    if (!before.empty() && before.find('/') != before.size() - 1) continue;
    if (prefix) fail("{}: the archive holds two files data.pkl", origin);
    prefix = before;
  }
  if (!prefix) fail("{}: a zip archive without data.pkl, so not one of torch.save", origin);
  return *prefix;
}

/// A pickle, the tensors in it that are wanted, and where each one's bytes are.
struct Contents {
  Pickle pickle;
  std::vector<Tensor> tensors;
  std::vector<std::span<const std::byte>> storages;  // of each tensor
};

using FindTensors = std::vector<Tensor> (PickledTensors::*)();

Contents read_archive(const MappedFile& file, FindTensors find) {
  const std::string origin = file.path().string();
  const ZipArchive archive(file);
  const std::string prefix = find_prefix(archive, origin);
  if (archive.contains(prefix + "byteorder")) {
    const auto order = archive.bytes(prefix + "byteorder");
    if (order.size() < 6 || std::memcmp(order.data(), "little", 6) != 0) {
      fail("{}: numbers are big-endian, expected little-endian ones", origin);
    }
  }
  const auto bytes = archive.bytes(prefix + "data.pkl");
  if (bytes.size() > kMaxPickle) {
    fail("{}: a data.pkl of {} bytes, expected at most {}", origin, bytes.size(), kMaxPickle);
  }
  Contents contents{.pickle = read_pickle(bytes, origin, kGlobals), .tensors = {}, .storages = {}};
  contents.tensors = (PickledTensors(contents.pickle, origin).*find)();
  for (const Tensor& tensor : contents.tensors) {
    contents.storages.push_back(archive.bytes(fmt::format("{}data/{}", prefix, tensor.storage)));
  }
  return contents;
}

/// The storages that follow the pickles of the older format, `keys` naming them in order.
Storages read_legacy_storages(std::span<const std::byte> bytes, const Pickle& keys,
                              const std::vector<Tensor>& tensors, const std::string& origin) {
  std::map<std::string_view, std::int64_t> element_sizes;
  for (const Tensor& tensor : tensors) {
    element_sizes[tensor.storage] = dtype_layout(tensor.dtype).bytes;
  }
  Storages storages;
  for (const PickleValue::Id id : keys[keys.root].items) {
    const PickleValue& key = keys[id];
    const auto size = element_sizes.find(key.text);
    if (key.kind != Kind::kString || size == element_sizes.end()) {
      fail("{}: the storage {} belongs to no tensor", origin, quoted_name(key.text));
    }
    std::int64_t count = 0;
    if (bytes.size() < sizeof count)
      fail("{}: cut off before storage {}", origin, quoted_name(key.text));
    std::memcpy(&count, bytes.data(), sizeof count);
    bytes = bytes.subspan(sizeof count);
    const auto there = static_cast<std::int64_t>(bytes.size()) / size->second;
    if (count < 0 || count > there) {
      fail("{}: storage {} has {} elements, {} are left in the file", origin, quoted_name(key.text),
           count, there);
    }
    const auto taken = static_cast<std::size_t>(count * size->second);
    storages.emplace(key.text, bytes.first(taken));
    bytes = bytes.subspan(taken);
  }
  return storages;
}

Contents read_legacy(const MappedFile& file, FindTensors find) {
  const std::string origin = file.path().string();
  std::span<const std::byte> rest = file.bytes();
  const auto next = [&] {
    Pickle pickle = read_pickle(rest, origin, kGlobals);
    rest = rest.subspan(pickle.bytes);
    return pickle;
  };
  if (const Pickle magic = next();
      magic[magic.root].kind != Kind::kLongInt || magic[magic.root].text != kTorchMagic) {
    fail("{}: not a file of torch.save: the magic number is another", origin);
  }
  if (const Pickle version = next(); version[version.root].kind != Kind::kInt ||
                                     version[version.root].integer != kLegacyProtocol) {
    fail("{}: of an unknown version of torch.save's older format, expected {}", origin,
         kLegacyProtocol);
  }
  next();  // the sizes of C's types on the machine that wrote it
  Contents contents{.pickle = next(), .tensors = {}, .storages = {}};
  const Pickle keys = next();
  if (keys[keys.root].kind != Kind::kList) fail("{}: the storages' keys are not a list", origin);
  contents.tensors = (PickledTensors(contents.pickle, origin).*find)();
  const Storages storages = read_legacy_storages(rest, keys, contents.tensors, origin);
  for (const Tensor& tensor : contents.tensors) {
    const auto storage = storages.find(tensor.storage);
    if (storage == storages.end()) {
      fail("{}: tensor {}: its storage {} is not in the file", origin, quoted_name(tensor.name),
           quoted_name(tensor.storage));
    }
    contents.storages.push_back(storage->second);
  }
  return contents;
}

constexpr std::byte kPickleStart{0x80};

Contents read_contents(const MappedFile& file, FindTensors find) {
  const bool is_zip = ZipArchive::is_one(file);
  if (!is_zip && (file.size() == 0 || file.bytes()[0] != kPickleStart)) {
    fail("{}: neither a zip archive nor a pickle, so not a file of torch.save",
         file.path().string());
  }
  return is_zip ? read_archive(file, find) : read_legacy(file, find);
}

/// One for each tensor, in their order.
std::vector<TensorEntry> make_entries(const Contents& contents, const MappedFile& file,
                                      std::vector<Buffer>& copies) {
  const std::string origin = file.path().string();
  std::vector<TensorEntry> entries;
  for (std::size_t i = 0; i < contents.tensors.size(); ++i) {
    entries.push_back(
        make_entry({contents.tensors[i], contents.storages[i], origin}, file.size(), copies));
  }
  return entries;
}

}  // namespace

bool is_of_torch(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (ZipArchive::is_one(file)) return true;
  // A safetensors file begins with a length of 8 bytes, the last of which is 0.
  const std::span<const std::byte> bytes = file.bytes();
  return bytes.size() > 8 && bytes[0] == kPickleStart && bytes[7] != std::byte{0};
}

TorchBinFile::TorchBinFile(const std::filesystem::path& path) : file_(path) {
  const Contents contents = read_contents(file_, &PickledTensors::of_state_dict);
  tensors_ = TensorTable(make_entries(contents, file_, copies_), file_, "", SharedBytes::kAllowed);
}

std::vector<std::string> TorchBinFile::names() const {
  std::vector<std::string> names;
  for (const TensorEntry& entry : entries()) names.push_back(entry.name);
  return names;
}

TorchObject::TorchObject(const std::filesystem::path& path) : file_(path) {
  Contents contents = read_contents(file_, &PickledTensors::of_anything);
  std::vector<TensorEntry> entries = make_entries(contents, file_, copies_);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    tensors_.emplace(contents.tensors[i].id, std::move(entries[i].view));
  }
  pickle_ = std::move(contents.pickle);
}

const TensorView* TorchObject::tensor(PickleValue::Id id) const {
  const auto found = tensors_.find(id);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace nibble
