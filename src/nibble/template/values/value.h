// The values of a template: Python's, as far as templates meet them. Texts, lists and dicts never
// change once made (the sandbox refuses methods that would), so that values are shared freely.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "nibble/template/values/budget.h"

namespace nibble::jinja {

class Dict;
class Machine;
class Object;
class Value;
struct Arguments;
struct Sequence;

/// Python's integers have no bounds; these hold what JSON schemas do (uint64) and overflow loudly.
__extension__ typedef __int128 Int;
__extension__ typedef unsigned __int128 UnsignedInt;

struct Text {
  std::string text;  // valid UTF-8
  bool markup;       // marked by |safe or made by |escape
  Charge charge;
};

/// A name, attribute or item that is not there. It prints as nothing, and using it raises.
struct Undefined {
  std::string message;
  bool unsafe = false;  // raises SecurityError: there is one, but the sandbox hides it
};

class Value {
 public:
  enum class Kind { kUndefined, kNone, kBool, kInt, kFloat, kText, kSequence, kDict, kObject };

  Value() = default;  // None
  static Value undefined(std::string message, bool unsafe = false);
  static Value boolean(bool value) { return Value(Storage(value)); }
  static Value integer(Int value) { return Value(Storage(value)); }
  static Value size(std::size_t value) { return integer(static_cast<Int>(value)); }
  static Value real(double value) { return Value(Storage(value)); }
  static Value text(std::string text, bool markup = false);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(Dict dict);
  static Value object(std::shared_ptr<Object> object) { return Value(Storage(std::move(object))); }

  Kind kind() const;
  bool is_undefined() const { return kind() == Kind::kUndefined; }
  bool is_none() const { return kind() == Kind::kNone; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_integer() const { return is_bool() || kind() == Kind::kInt; }  // True is 1
  bool is_real() const { return kind() == Kind::kFloat; }
  bool is_number() const { return is_integer() || is_real(); }
  bool is_text() const { return kind() == Kind::kText; }
  bool is_sequence() const { return kind() == Kind::kSequence; }  // a list or a tuple
  bool is_list() const;
  bool is_tuple() const;
  bool is_dict() const { return kind() == Kind::kDict; }
  bool is_object() const { return kind() == Kind::kObject; }

  // Only for the kind asked for.
  const Undefined& as_undefined() const;
  bool as_bool() const { return std::get<bool>(storage_); }
  Int as_integer() const;  // bools too
  double as_real() const;  // integers too
  const std::string& as_text() const { return std::get<TextPointer>(storage_)->text; }
  bool is_markup() const { return is_text() && std::get<TextPointer>(storage_)->markup; }
  const std::vector<Value>& items() const;  // of a list or a tuple
  const Dict& as_dict() const { return *std::get<DictPointer>(storage_); }
  Object& as_object() const { return *std::get<ObjectPointer>(storage_); }
  const std::shared_ptr<Object>& object_pointer() const {
    return std::get<ObjectPointer>(storage_);
  }

  /// Lists, dicts and objects inside each other, this one counted. Never above kMaxValueDepth.
  int depth() const;
  /// Python's `is`, for what templates can tell apart by it.
  bool is_same(const Value& other) const;

 private:
  struct None {};
  using UndefinedPointer = std::shared_ptr<const Undefined>;
  using TextPointer = std::shared_ptr<const Text>;
  using SequencePointer = std::shared_ptr<const Sequence>;
  using DictPointer = std::shared_ptr<const Dict>;
  using ObjectPointer = std::shared_ptr<Object>;
  using Storage = std::variant<None, UndefinedPointer, bool, Int, double, TextPointer,
                               SequencePointer, DictPointer, ObjectPointer>;

  explicit Value(Storage storage) : storage_(std::move(storage)) {}

  Storage storage_;
};

inline const Value kNone;

/// `depth`, unless it is above kMaxValueDepth: then throws Raised.
int checked_depth(int depth);

struct Sequence {
  Sequence(std::vector<Value> values, bool is_tuple);

  std::vector<Value> items;
  bool tuple;
  int depth;
  Charge charge;
};

/// A dict in the order in which its keys came. Keys are what Python can hash.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  /// Adds or replaces. Throws Raised for a key that cannot be one.
  void set(const Value& key, Value value);
  void set(std::string_view key, Value value);
  /// Null if there is none. Throws Raised for what cannot be a key.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t size() const { return entries_.size(); }

 private:
  friend class Value;
  static constexpr std::size_t kIndexFrom = 16;  // entries; fewer are searched one by one

  const Entry* find_entry(const Value& key, std::size_t hash) const;

  std::vector<Entry> entries_;
  std::vector<std::size_t> hashes_;                            // one an entry
  std::unordered_multimap<std::size_t, std::size_t> by_hash_;  // to places; of larger dicts only
  int depth_ = 1;
  std::shared_ptr<const Charge> charge_;
};

/// Everything else: functions, macros, namespaces, loops, generators, views.
class Object : public std::enable_shared_from_this<Object> {
 public:
  Object() = default;
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  /// Python's type(x).__name__.
  virtual std::string type_name() const = 0;
  /// What Jinja's messages call it: "dict object".
  virtual std::string described() const { return type_name() + " object"; }
  virtual std::string repr() { return "<" + type_name() + " object>"; }
  virtual bool truth() const { return true; }
  virtual bool callable() const { return false; }
  /// Nothing where Python's len() fails.
  virtual std::optional<std::size_t> length() { return std::nullopt; }
  virtual bool iterable() const { return false; }
  /// All items, for iterable ones. A generator gives them once only.
  virtual std::vector<Value> take_items() { return {}; }
  /// x.name; nothing where there is none.
  virtual std::optional<Value> attribute(Machine& machine, const std::string& name);
  /// x[i] for objects with len() and indices.
  virtual bool subscriptable() const { return false; }
  virtual Value item(std::size_t) const { return Value(); }
  virtual Value call(Machine& machine, Arguments& arguments);
  /// Lists, dicts and objects inside each other, where what is held never changes.
  virtual int depth() const { return 0; }
  /// Lets go of the values held, to break circles at the end of a rendering.
  virtual void clear() {}

 private:
  Charge charge_{128};
};

/// What a call passes.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

}  // namespace nibble::jinja
