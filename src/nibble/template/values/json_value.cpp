#include "nibble/template/values/json_value.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/core/json.h"
#include "nibble/template/values/numbers.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

constexpr std::size_t kMaxDepth = 200;

/// Takes nlohmann's parsing events.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(Value()); }
  bool boolean(bool value) override { return add(Value::boolean(value)); }
  bool number_integer(number_integer_t value) override { return add(Value::integer(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Value::integer(value)); }
  bool number_float(number_float_t value, const string_t& digits) override {
    const bool whole = digits.find_first_not_of("-0123456789") == std::string::npos;
    const std::optional<Int> integer = whole ? parse_integer(digits, 10) : std::nullopt;
    return add(integer ? Value::integer(*integer) : Value::real(value));
  }
  bool string(string_t& value) override { return add(Value::text(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(true); }
  bool key(string_t& name) override {
    open_.back().key = std::move(name);
    return true;
  }
  bool end_object() override {
    Value made = Value::dict(std::move(open_.back().dict));
    open_.pop_back();
    return add(std::move(made));
  }
  bool start_array(std::size_t) override { return open(false); }
  bool end_array() override {
    Value made = Value::list(std::move(open_.back().items));
    open_.pop_back();
    return add(std::move(made));
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    message_ = error.what();
    message_.erase(0, message_.find("] ") + 2);  // an identifier that says nothing to a user
    return false;
  }

  const std::string& message() const { return message_; }
  Value take() { return std::move(root_); }

 private:
  struct Open {
    std::string key;
    Dict dict;
    std::vector<Value> items;
    bool is_object = false;
  };

  bool open(bool is_object) {
    if (open_.size() == kMaxDepth) {
      message_ = "nested deeper than " + std::to_string(kMaxDepth) + " levels";
      return false;
    }
    open_.emplace_back();
    open_.back().is_object = is_object;
    return true;
  }

  bool add(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().dict.set(open_.back().key, std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::vector<Open> open_;
  Value root_;
  std::string message_ = "not valid JSON";
};

}  // namespace

Value parse_json(std::string_view text, const std::string& origin) {
  Builder builder;
  try {
    if (!Json::sax_parse(text, &builder)) fail("{}: not valid JSON: {}", origin, builder.message());
  } catch (const Raised& raised) {  // a number of too many digits
    fail("{}: {}", origin, raised.message());
  }
  return builder.take();
}

}  // namespace nibble::jinja
