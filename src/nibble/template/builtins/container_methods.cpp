// The methods of Python's dict, list and tuple that change nothing.
#include <algorithm>

#include "nibble/template/builtins/method_tables.h"
#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/objects.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

Value get(Machine&, const Value& self, Arguments& arguments) {
  const auto values = bind("get", arguments, {{"key"}, {"default", Value()}});
  const Value* found = self.as_dict().find(values[0]);
  return found == nullptr ? values[1] : *found;
}

template <DictView::Part part>
Value view(Machine&, const Value& self, Arguments& arguments) {
  bind("dict", arguments, {});
  return Value::object(std::make_shared<DictView>(self, part));
}

Value copy(Machine&, const Value& self, Arguments& arguments) {
  bind("copy", arguments, {});
  if (self.is_dict()) return Value::dict(Dict(self.as_dict()));
  return Value::list(iterate(self));
}

Value fromkeys(Machine&, const Value&, Arguments& arguments) {
  const auto values = bind("fromkeys", arguments, {{"iterable"}, {"value", Value()}});
  Dict dict;
  for (const Value& key : iterate(values[0])) dict.set(key, values[1]);
  return Value::dict(std::move(dict));
}

Value count(Machine&, const Value& self, Arguments& arguments) {
  const Value wanted = bind("count", arguments, {{"value"}})[0];
  return Value::size(static_cast<std::size_t>(
      std::count_if(self.items().begin(), self.items().end(),
                    [&](const Value& item) { return equal(item, wanted); })));
}

Value index(Machine&, const Value& self, Arguments& arguments) {
  const Value wanted = bind("index", arguments, {{"value"}})[0];
  const auto found = std::find_if(self.items().begin(), self.items().end(),
                                  [&](const Value& item) { return equal(item, wanted); });
  if (found == self.items().end()) {
    value_error("{}.index(x): x not in {}", type_name(self), type_name(self));
  }
  return Value::integer(found - self.items().begin());
}

}  // namespace

const MethodTable& dict_methods() {
  static const MethodTable kTable{{"get", get},
                                  {"items", view<DictView::Part::kItems>},
                                  {"keys", view<DictView::Part::kKeys>},
                                  {"values", view<DictView::Part::kValues>},
                                  {"copy", copy},
                                  {"fromkeys", fromkeys}};
  return kTable;
}

const MethodTable& sequence_methods() {
  static const MethodTable kTable{{"count", count}, {"index", index}, {"copy", copy}};
  return kTable;
}

}  // namespace nibble::jinja
