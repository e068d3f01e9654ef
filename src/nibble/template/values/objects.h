// The objects that templates meet besides plain data: views of dicts, ranges, generators,
// namespaces, cyclers and joiners.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// dict.items(), dict.keys(), dict.values().
class DictView : public Object {
 public:
  enum class Part { kItems, kKeys, kValues };

  DictView(Value dict, Part part)
      : dict_(std::move(dict)), part_(part), depth_(checked_depth(dict_.depth() + 1)) {}

  std::string type_name() const override;
  std::string repr() override;
  bool truth() const override { return dict_.as_dict().size() != 0; }
  std::optional<std::size_t> length() override { return dict_.as_dict().size(); }
  bool iterable() const override { return true; }
  std::vector<Value> take_items() override { return make_items(); }
  int depth() const override { return depth_; }

 private:
  std::vector<Value> make_items() const;

  Value dict_;
  Part part_;
  int depth_;
};

class Range : public Object {
 public:
  /// `step` is not 0. Throws Raised for more than kMaxRange items.
  Range(Int start, Int stop, Int step);

  std::string type_name() const override { return "range"; }
  std::string repr() override;
  bool truth() const override { return size_ != 0; }
  std::optional<std::size_t> length() override { return size_; }
  bool iterable() const override { return true; }
  std::vector<Value> take_items() override;
  bool subscriptable() const override { return true; }
  Value item(std::size_t at) const override {
    return Value::integer(start_ + static_cast<Int>(at) * step_);
  }

 private:
  Int start_;
  Int stop_;
  Int step_;
  std::size_t size_;
};

/// What map, select and their like give: items made when they are first asked for, once.
class Generator : public Object {
 public:
  using Make = std::function<std::vector<Value>()>;

  /// `depth`: that of the values that `make` holds.
  Generator(int depth, Make make, std::string type = "generator")
      : make_(std::move(make)), type_(std::move(type)), depth_(checked_depth(depth + 1)) {}

  std::string type_name() const override { return type_; }
  bool iterable() const override { return true; }
  std::vector<Value> take_items() override;
  /// The next item alone, the others left for later; nothing at the end.
  std::optional<Value> take_first();
  int depth() const override { return depth_; }

 private:
  void produce();

  Make make_;
  std::string type_;
  int depth_;
  std::vector<Value> items_;
  std::size_t at_ = 0;
};

/// The one object that a template can change.
class Namespace : public Object {
 public:
  /// Throws Raised for private names.
  explicit Namespace(const Dict& values);

  std::string type_name() const override { return "TemplateNamespace"; }
  std::string described() const override {
    return "transformers.utils.chat_template_utils.TemplateNamespace object";
  }
  std::string repr() override;
  std::optional<Value> attribute(Machine& machine, const std::string& name) override;
  /// Throws Raised for private names.
  void set(const std::string& name, Value value);
  void clear() override { values_ = Dict(); }

 private:
  Dict values_;
  Charge charge_;
};

class Cycler : public Object {
 public:
  /// `items`: a tuple, not empty.
  explicit Cycler(Value items) : items_(std::move(items)) {}

  std::string type_name() const override { return "Cycler"; }
  std::string described() const override { return "jinja2.utils.Cycler object"; }
  std::optional<Value> attribute(Machine& machine, const std::string& name) override;
  int depth() const override { return items_.depth(); }

 private:
  Value items_;
  std::size_t at_ = 0;
};

class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}

  std::string type_name() const override { return "Joiner"; }
  std::string described() const override { return "jinja2.utils.Joiner object"; }
  bool callable() const override { return true; }
  Value call(Machine& machine, Arguments& arguments) override;
  int depth() const override { return separator_.depth(); }

 private:
  Value separator_;
  bool used_ = false;
};

}  // namespace nibble::jinja
