// Filters of lists and whatever else has items.
#include <algorithm>
#include <functional>

#include "nibble/template/builtins/filter_tables.h"
#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/characters.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/objects.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

const Value kFalse = Value::boolean(false);

Value generator(int depth, Generator::Make make, const char* type = "generator") {
  return Value::object(std::make_shared<Generator>(depth, std::move(make), type));
}

/// The depth of all that a call passes.
int depth_of(const Arguments& arguments) {
  int depth = 0;
  for (const Value& value : arguments.positional) depth = std::max(depth, value.depth());
  for (const auto& [name, value] : arguments.named) depth = std::max(depth, value.depth());
  return depth;
}

/// Upper and lower case alike, unless asked to tell them apart.
Value fold(const Value& value, bool case_sensitive) {
  return case_sensitive || !value.is_text() ? value : Value::text(to_lower(value.as_text()));
}

Value first(Machine&, Arguments& arguments) {
  const Value value = bind("do_first", arguments, {{"seq"}})[0];
  std::optional<Value> found;
  if (value.is_object()) {
    if (auto* generated = dynamic_cast<Generator*>(&value.as_object())) {
      found = generated->take_first();
      return found ? *found : Value::undefined("No first item, sequence was empty.");
    }
  }
  if (value.is_text() && !value.as_text().empty()) {
    const std::string& text = value.as_text();
    return Value::text(text.substr(0, utf8_length(text[0])), value.is_markup());
  }
  const std::vector<Value> items = iterate(value);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

bool is_reversible(const Value& value) {
  return is_iterable(value) && find_length(value).has_value();
}

Value last(Machine&, Arguments& arguments) {
  const Value value = bind("do_last", arguments, {{"seq"}})[0];
  if (!is_reversible(value)) type_error("'{}' object is not reversible", type_name(value));
  const std::vector<Value> items = iterate(value);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value list(Machine&, Arguments& arguments) {
  return Value::list(iterate(bind("do_list", arguments, {{"value"}})[0]));
}

Value items(Machine&, Arguments& arguments) {
  const Value value = bind("do_items", arguments, {{"value"}})[0];
  return generator(value.depth(), [value] {
    if (value.is_undefined()) return std::vector<Value>();
    if (!value.is_dict()) type_error("Can only get item pairs from a mapping.");
    return DictView(value, DictView::Part::kItems).take_items();
  });
}

Value reverse(Machine&, Arguments& arguments) {
  const Value value = bind("do_reverse", arguments, {{"value"}})[0];
  if (value.is_text()) {
    return get_slice(value, kNone, kNone, Value::integer(-1));
  }
  if (!is_iterable(value)) raise("FilterArgumentError", "argument must be iterable");
  if (!is_reversible(value)) {
    std::vector<Value> items = iterate(value);
    std::reverse(items.begin(), items.end());
    return Value::list(std::move(items));
  }
  const char* type = value.is_list() ? "list_reverseiterator" : "reversed";
  return generator(
      value.depth(),
      [value] {
        std::vector<Value> items = iterate(value);
        std::reverse(items.begin(), items.end());
        return items;
      },
      type);
}

/// A stable sort by keys, as Python's sorted(); exceptions of the comparison get through.
std::vector<Value> sorted(std::vector<Value> values, std::vector<Value> keys, bool descending) {
  std::vector<std::size_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (descending) std::reverse(order.begin(), order.end());
  // Not std::sort: a NaN makes the order inconsistent, which merging bears.
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return less(keys[a], keys[b]); });
  if (descending) std::reverse(order.begin(), order.end());
  std::vector<Value> result;
  for (const std::size_t at : order) result.push_back(values[at]);
  return result;
}

/// The values of "name,other.name" as a list to compare by.
Value sort_key(Machine& machine, const Value& item, const Value& attribute, bool case_sensitive) {
  if (!attribute.is_text()) {
    return Value::list({fold(get_path(machine, item, attribute), case_sensitive)});
  }
  std::vector<Value> parts;
  std::string_view rest = attribute.as_text();
  for (bool more = true; more;) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const Value path = Value::text(std::string(rest.substr(0, comma)));
    parts.push_back(fold(get_path(machine, item, path), case_sensitive));
    more = comma < rest.size();
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return Value::list(std::move(parts));
}

Value sort(Machine& machine, Arguments& arguments) {
  const auto values =
      bind("do_sort", arguments,
           {{"value"}, {"reverse", kFalse}, {"case_sensitive", kFalse}, {"attribute", kNone}});
  std::vector<Value> items = iterate(values[0]);
  std::vector<Value> keys;
  for (const Value& item : items) {
    keys.push_back(sort_key(machine, item, values[3], truth(values[2])));
  }
  return Value::list(sorted(std::move(items), std::move(keys), truth(values[1])));
}

Value dictsort(Machine&, Arguments& arguments) {
  const auto values = bind(
      "do_dictsort", arguments,
      {{"value"}, {"case_sensitive", kFalse}, {"by", Value::text("key")}, {"reverse", kFalse}});
  const std::string by = to_text(values[2]);
  if (by != "key" && by != "value") {
    raise("FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
  }
  require_defined(values[0]);
  if (!values[0].is_dict()) {
    raise("AttributeError", "'{}' object has no attribute 'items'", type_name(values[0]));
  }
  std::vector<Value> pairs;
  std::vector<Value> keys;
  for (const auto& [key, value] : values[0].as_dict().entries()) {
    pairs.push_back(Value::tuple({key, value}));
    keys.push_back(fold(by == "key" ? key : value, truth(values[1])));
  }
  return Value::list(sorted(std::move(pairs), std::move(keys), truth(values[3])));
}

Value unique(Machine& machine, Arguments& arguments) {
  const auto values =
      bind("do_unique", arguments, {{"value"}, {"case_sensitive", kFalse}, {"attribute", kNone}});
  return generator(depth_of(arguments), [&machine, values] {
    Dict seen;
    std::vector<Value> kept;
    for (const Value& item : iterate(values[0])) {
      const Value key = fold(get_path(machine, item, values[2]), truth(values[1]));
      if (seen.find(key) != nullptr) continue;
      seen.set(key, Value());
      kept.push_back(item);
    }
    return kept;
  });
}

template <bool largest>
Value extreme(Machine& machine, Arguments& arguments) {
  const auto values =
      bind("do_min", arguments, {{"value"}, {"case_sensitive", kFalse}, {"attribute", kNone}});
  const std::vector<Value> items = iterate(values[0]);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const auto key = [&](const Value& item) {
    return fold(get_path(machine, item, values[2]), truth(values[1]));
  };
  std::size_t best = 0;
  Value best_key = key(items[0]);
  for (std::size_t i = 1; i < items.size(); ++i) {
    const Value other = key(items[i]);
    if (largest ? greater(other, best_key) : less(other, best_key)) {
      best = i;
      best_key = other;
    }
  }
  return items[best];
}

Value sum(Machine& machine, Arguments& arguments) {
  const auto values =
      bind("do_sum", arguments, {{"iterable"}, {"attribute", kNone}, {"start", Value::integer(0)}});
  if (values[2].is_text()) type_error("sum() can't sum strings [use ''.join(seq) instead]");
  Value total = values[2];
  for (const Value& item : iterate(values[0]))
    total = add(total, get_path(machine, item, values[1]));
  return total;
}

Value batch(Machine&, Arguments& arguments) {
  const auto values = bind("do_batch", arguments, {{"value"}, {"linecount"}, {"fill_with", kNone}});
  return generator(depth_of(arguments), [values] {
    std::vector<Value> rows;
    std::vector<Value> row;
    for (const Value& item : iterate(values[0])) {
      if (equal(Value::size(row.size()), values[1])) {
        rows.push_back(Value::list(std::exchange(row, {})));
      }
      row.push_back(item);
    }
    if (row.empty()) return rows;
    if (!values[2].is_none()) {
      const std::int64_t missing =
          to_clamped_index(values[1]) - static_cast<std::int64_t>(row.size());
      if (missing > 0) {
        check_size(static_cast<std::size_t>(missing), sizeof(Value));
        row.resize(row.size() + static_cast<std::size_t>(missing), values[2]);
      }
    }
    rows.push_back(Value::list(std::move(row)));
    return rows;
  });
}

Value slice(Machine&, Arguments& arguments) {
  const auto values = bind("do_slice", arguments, {{"value"}, {"slices"}, {"fill_with", kNone}});
  return generator(depth_of(arguments), [values] {
    const std::vector<Value> items = iterate(values[0]);
    const auto slices = to_clamped_index(values[1]);
    if (slices == 0) raise("ZeroDivisionError", "integer division or modulo by zero");
    if (slices > kMaxRange) raise("OverflowError", "more than {} slices", kMaxRange);
    const auto size = static_cast<std::int64_t>(items.size());
    std::vector<Value> result;
    auto next = items.begin();
    for (std::int64_t i = 0; i < slices; ++i) {
      const bool longer = i < size % slices;
      const auto end = next + size / slices + (longer ? 1 : 0);
      std::vector<Value> part(next, end);
      if (!longer && !values[2].is_none()) part.push_back(values[2]);
      result.push_back(Value::list(std::move(part)));
      next = end;
    }
    return result;
  });
}

Value groupby(Machine& machine, Arguments& arguments) {
  const auto values =
      bind("do_groupby", arguments,
           {{"value"}, {"attribute"}, {"default", kNone}, {"case_sensitive", kFalse}});
  const auto key_of = [&](const Value& item) {
    const Value key = get_path(machine, item, values[1]);
    return key.is_undefined() && !values[2].is_none() ? values[2] : key;
  };
  std::vector<Value> items = iterate(values[0]);
  std::vector<Value> keys;
  for (const Value& item : items) keys.push_back(fold(key_of(item), truth(values[3])));
  items = sorted(std::move(items), std::move(keys), false);
  std::vector<Value> groups;
  std::vector<Value> group;
  for (std::size_t i = 0; i < items.size(); ++i) {
    group.push_back(items[i]);
    const Value key = fold(key_of(items[i]), truth(values[3]));
    const bool ends =
        i + 1 == items.size() || !equal(key, fold(key_of(items[i + 1]), truth(values[3])));
    if (!ends) continue;
    const Value shown = key_of(group.front());
    groups.push_back(Value::tuple({shown, Value::list(std::exchange(group, {}))}));
  }
  return Value::list(std::move(groups));
}

/// What map() does to an item.
using Change = std::function<Value(const Value& item)>;

Change map_attribute(Machine& machine, const Arguments& arguments) {
  Value attribute;
  Value fallback;
  for (const auto& [name, value] : arguments.named) {
    if (name == "attribute") {
      attribute = value;
    } else if (name == "default") {
      fallback = value;
    } else {
      raise("FilterArgumentError", "Unexpected keyword argument {}", repr_text(name));
    }
  }
  return [&machine, attribute, fallback](const Value& item) {
    const Value found = get_path(machine, item, attribute);
    return found.is_undefined() && !fallback.is_none() ? fallback : found;
  };
}

Change map_filter(Machine& machine, const Arguments& arguments) {
  if (arguments.positional.size() < 2) {
    raise("FilterArgumentError", "map requires a filter argument");
  }
  const Filter filter = get_filter(to_text(arguments.positional[1]));
  Arguments call = arguments;
  call.positional.erase(call.positional.begin() + 1);
  return [&machine, filter, call](const Value& item) {
    const Machine::Level level(machine);
    Arguments with_item = call;
    with_item.positional[0] = item;
    return filter(machine, with_item);
  };
}

const Value& filtered_value(const Arguments& arguments, const char* filter) {
  if (arguments.positional.empty()) {
    type_error("{}() missing 1 required positional argument: 'value'", filter);
  }
  return arguments.positional[0];
}

Value map(Machine& machine, Arguments& arguments) {
  const Value value = filtered_value(arguments, "sync_do_map");
  return generator(depth_of(arguments), [&machine, value, arguments] {
    std::vector<Value> result;
    if (!truth(value)) return result;
    const bool by_attribute =
        arguments.positional.size() == 1 &&
        std::any_of(arguments.named.begin(), arguments.named.end(),
                    [](const auto& argument) { return argument.first == "attribute"; });
    const Change change =
        by_attribute ? map_attribute(machine, arguments) : map_filter(machine, arguments);
    for (const Value& item : iterate(value)) result.push_back(change(item));
    return result;
  });
}

/// Whether select() and its like keep an item, before they turn it round.
std::function<bool(const Value& item)> condition(Machine& machine, const Arguments& arguments,
                                                 bool by_attribute) {
  Arguments call = arguments;
  Value attribute;
  if (by_attribute) {
    if (call.positional.size() < 2) {
      raise("FilterArgumentError", "Missing parameter for attribute name");
    }
    attribute = call.positional[1];
    call.positional.erase(call.positional.begin() + 1);
  }
  if (call.positional.size() < 2) {
    return [&machine, attribute](const Value& item) {
      return truth(get_path(machine, item, attribute));
    };
  }
  const Test test = get_test(to_text(call.positional[1]));
  call.positional.erase(call.positional.begin() + 1);
  return [&machine, test, attribute, call](const Value& item) {
    const Machine::Level level(machine);
    Arguments with_item = call;
    with_item.positional[0] = get_path(machine, item, attribute);
    return test(machine, with_item);
  };
}

template <bool wanted, bool by_attribute>
Value select(Machine& machine, Arguments& arguments) {
  const Value value = filtered_value(arguments, "select_or_reject");
  return generator(depth_of(arguments), [&machine, value, arguments] {
    std::vector<Value> kept;
    if (!truth(value)) return kept;
    const auto holds = condition(machine, arguments, by_attribute);
    for (const Value& item : iterate(value)) {
      if (holds(item) == wanted) kept.push_back(item);
    }
    return kept;
  });
}

}  // namespace

const FilterTable& sequence_filters() {
  static const FilterTable kTable{{"first", first},
                                  {"last", last},
                                  {"list", list},
                                  {"items", items},
                                  {"reverse", reverse},
                                  {"sort", sort},
                                  {"dictsort", dictsort},
                                  {"unique", unique},
                                  {"min", extreme<false>},
                                  {"max", extreme<true>},
                                  {"sum", sum},
                                  {"batch", batch},
                                  {"slice", slice},
                                  {"groupby", groupby},
                                  {"map", map},
                                  {"select", select<true, false>},
                                  {"reject", select<false, false>},
                                  {"selectattr", select<true, true>},
                                  {"rejectattr", select<false, true>}};
  return kTable;
}

}  // namespace nibble::jinja
