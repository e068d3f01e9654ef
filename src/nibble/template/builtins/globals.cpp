// The functions that every template begins with, those of transformers among them.
#include <array>
#include <ctime>

#include "nibble/core/utf8.h"
#include "nibble/template/builtins/filters.h"
#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/objects.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

Value range(Machine&, Arguments& arguments) {
  if (!arguments.named.empty()) type_error("range() takes no keyword arguments");
  const std::vector<Value>& given = arguments.positional;
  if (given.empty()) type_error("range expected at least 1 argument, got 0");
  if (given.size() > 3) type_error("range expected at most 3 arguments, got {}", given.size());
  const auto bound = [&](std::size_t at) { return Int{to_clamped_index(given[at])}; };
  const Int step = given.size() == 3 ? bound(2) : 1;
  if (step == 0) value_error("range() arg 3 must not be zero");
  const bool has_start = given.size() > 1;
  return Value::object(
      std::make_shared<Range>(has_start ? bound(0) : 0, bound(has_start ? 1 : 0), step));
}

/// One pair of those that dict() takes.
void add_pair(Dict& dict, const Value& pair, std::size_t at) {
  if (!is_iterable(pair)) {
    type_error("cannot convert dictionary update sequence element #{} to a sequence", at);
  }
  const std::vector<Value> parts = iterate(pair);
  if (parts.size() != 2) {
    value_error("dictionary update sequence element #{} has length {}; 2 is required", at,
                parts.size());
  }
  dict.set(parts[0], parts[1]);
}

/// dict(...): a dict or pairs, then what is named.
Dict make_dict(const Arguments& arguments) {
  if (arguments.positional.size() > 1) {
    type_error("dict expected at most 1 argument, got {}", arguments.positional.size());
  }
  Dict dict;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is_dict()) {
      dict = source.as_dict();
    } else {
      const std::vector<Value> pairs = iterate(source);
      for (std::size_t i = 0; i < pairs.size(); ++i) add_pair(dict, pairs[i], i);
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(name, value);
  return dict;
}

/// The object `dict`: to be called, and with fromkeys().
class DictType : public Object {
 public:
  std::string type_name() const override { return "TemplateDict"; }
  bool callable() const override { return true; }
  Value call(Machine&, Arguments& arguments) override { return Value::dict(make_dict(arguments)); }
  std::optional<Value> attribute(Machine&, const std::string& name) override {
    return name == "fromkeys" ? find_method(Value::dict(Dict()), name) : std::nullopt;
  }
};

Value make_namespace(Machine& machine, Arguments& arguments) {
  auto made = std::make_shared<Namespace>(make_dict(arguments));
  machine.keep(made);
  return Value::object(std::move(made));
}

Value make_cycler(Machine&, Arguments& arguments) {
  if (arguments.positional.empty()) raise("RuntimeError", "at least one item has to be provided");
  return Value::object(std::make_shared<Cycler>(Value::tuple(arguments.positional)));
}

Value make_joiner(Machine&, Arguments& arguments) {
  const auto values = bind("joiner", arguments, {{"sep", Value::text(", ")}});
  return Value::object(std::make_shared<Joiner>(values[0]));
}

Value raise_exception(Machine&, Arguments& arguments) {
  const auto values = bind("raise_exception", arguments, {{"message"}});
  raise("TemplateError", "{}", to_text(values[0]));
}

/// Today's date in the machine's time zone, by a format of strftime.
Value strftime_now(Machine&, Arguments& arguments) {
  const auto values = bind("strftime_now", arguments, {{"format"}});
  const std::string& format = text_argument("strftime", values[0]);
  if (format.empty()) return Value::text("");
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 4096> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  // Nothing written is no error for formats such as %p, which some locales leave empty.
  if (size == 0 && format.size() > 16) value_error("strftime_now: a date of more than 4096 bytes");
  return Value::text(replace_invalid_utf8({buffer.data(), size}));
}

/// Jinja's makes a page's worth of Latin.
Value lipsum(Machine&, Arguments&) {
  raise("NotImplementedError", "lipsum() is not supported: its text is random");
}

}  // namespace

void add_globals(Dict& globals) {
  const auto add = [&](const char* name, Value (*body)(Machine&, Arguments&)) {
    globals.set(name, Value::object(std::make_shared<Function>(name, body)));
  };
  add("range", range);
  add("namespace", make_namespace);
  add("cycler", make_cycler);
  add("joiner", make_joiner);
  add("raise_exception", raise_exception);
  add("strftime_now", strftime_now);
  add("lipsum", lipsum);
  globals.set("dict", Value::object(std::make_shared<DictType>()));
}

}  // namespace nibble::jinja
