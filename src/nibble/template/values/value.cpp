#include "nibble/template/values/value.h"

#include <algorithm>

#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

int depth_of(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return checked_depth(depth + 1);
}

}  // namespace

int checked_depth(int depth) {
  if (depth > kMaxValueDepth) {
    raise("RecursionError", "values nested deeper than {} levels", kMaxValueDepth);
  }
  return depth;
}

Value Value::undefined(std::string message, bool unsafe) {
  return Value(Storage(std::make_shared<const Undefined>(Undefined{std::move(message), unsafe})));
}

Value Value::text(std::string text, bool markup) {
  count_bytes(text.size());
  const std::size_t bytes = sizeof(Text) + text.capacity();
  // Not make_shared: Text is an aggregate whose Charge can be neither copied nor moved.
  return Value(Storage(TextPointer(new Text{std::move(text), markup, Charge(bytes)})));
}

Value Value::list(std::vector<Value> items) {
  return Value(Storage(std::make_shared<const Sequence>(std::move(items), false)));
}

Value Value::tuple(std::vector<Value> items) {
  return Value(Storage(std::make_shared<const Sequence>(std::move(items), true)));
}

Value Value::dict(Dict dict) {
  constexpr std::size_t kEntryBytes = sizeof(Dict::Entry) + 64;
  dict.charge_ = std::make_shared<const Charge>(sizeof(Dict) + dict.size() * kEntryBytes);
  dict.depth_ = 1;
  for (const auto& [key, value] : dict.entries_) {
    dict.depth_ = std::max({dict.depth_, key.depth() + 1, value.depth() + 1});
  }
  checked_depth(dict.depth_);
  return Value(Storage(std::make_shared<const Dict>(std::move(dict))));
}

Value::Kind Value::kind() const {
  static constexpr Kind kKinds[] = {Kind::kNone,     Kind::kUndefined, Kind::kBool,
                                    Kind::kInt,      Kind::kFloat,     Kind::kText,
                                    Kind::kSequence, Kind::kDict,      Kind::kObject};
  return kKinds[storage_.index()];
}

bool Value::is_list() const {
  return is_sequence() && !std::get<SequencePointer>(storage_)->tuple;
}
bool Value::is_tuple() const {
  return is_sequence() && std::get<SequencePointer>(storage_)->tuple;
}

const Undefined& Value::as_undefined() const {
  return *std::get<UndefinedPointer>(storage_);
}

Int Value::as_integer() const {
  return is_bool() ? Int{as_bool()} : std::get<Int>(storage_);
}

double Value::as_real() const {
  return is_real() ? std::get<double>(storage_) : static_cast<double>(as_integer());
}

const std::vector<Value>& Value::items() const {
  return std::get<SequencePointer>(storage_)->items;
}

int Value::depth() const {
  if (is_sequence()) return std::get<SequencePointer>(storage_)->depth;
  if (is_object()) return as_object().depth();
  return is_dict() ? as_dict().depth_ : 0;
}

bool Value::is_same(const Value& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::kNone:
      return true;
    case Kind::kUndefined:
      return std::get<UndefinedPointer>(storage_) == std::get<UndefinedPointer>(other.storage_);
    case Kind::kSequence:
      return std::get<SequencePointer>(storage_) == std::get<SequencePointer>(other.storage_) ||
             (is_tuple() && other.is_tuple() && items().empty() && other.items().empty());
    case Kind::kDict:
      return std::get<DictPointer>(storage_) == std::get<DictPointer>(other.storage_);
    case Kind::kObject:
      return object_pointer() == other.object_pointer();
    default:  // Python shares small integers and constant texts
      return equal(*this, other);
  }
}

Sequence::Sequence(std::vector<Value> values, bool is_tuple)
    : items(std::move(values)),
      tuple(is_tuple),
      depth(depth_of(items)),
      charge(sizeof(Sequence) + items.capacity() * sizeof(Value)) {
  count_steps(static_cast<std::int64_t>(items.size()));
}

void Dict::set(const Value& key, Value value) {
  const std::size_t hash = hash_value(key);
  if (const Entry* found = find_entry(key, hash)) {
    entries_[static_cast<std::size_t>(found - entries_.data())].second = std::move(value);
    return;
  }
  count_steps(1);
  entries_.emplace_back(key, std::move(value));
  hashes_.push_back(hash);
  if (entries_.size() == kIndexFrom) {
    for (std::size_t i = 0; i < hashes_.size(); ++i) by_hash_.emplace(hashes_[i], i);
  } else if (entries_.size() > kIndexFrom) {
    by_hash_.emplace(hash, entries_.size() - 1);
  }
}

void Dict::set(std::string_view key, Value value) {
  set(Value::text(std::string(key)), std::move(value));
}

const Dict::Entry* Dict::find_entry(const Value& key, std::size_t hash) const {
  if (entries_.size() < kIndexFrom) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (hashes_[i] == hash && equal(entries_[i].first, key)) return &entries_[i];
    }
    return nullptr;
  }
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (equal(entries_[it->second].first, key)) return &entries_[it->second];
  }
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  const Entry* entry = find_entry(key, hash_value(key));
  return entry == nullptr ? nullptr : &entry->second;
}

const Value* Dict::find(std::string_view key) const {
  return find(Value::text(std::string(key)));
}

std::optional<Value> Object::attribute(Machine&, const std::string&) {
  return std::nullopt;
}

Value Object::call(Machine&, Arguments&) {
  type_error("'{}' object is not callable", type_name());
}

}  // namespace nibble::jinja
