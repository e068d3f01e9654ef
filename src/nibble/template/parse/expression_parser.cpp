#include "nibble/template/parse/expression_parser.h"

#include <algorithm>

#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

using Type = Token::Type;

template <typename T, typename... Args>
ExpressionPtr make(int line, Args&&... args) {
  return std::make_unique<const T>(line, std::forward<Args>(args)...);
}

bool not_equal(const Value& a, const Value& b) {
  return !equal(a, b);
}
bool in(const Value& a, const Value& b) {
  return contains(b, a);
}
bool not_in(const Value& a, const Value& b) {
  return !contains(b, a);
}
Value negation(const Value& value) {
  return Value::boolean(!truth(value));
}

Comparison::Operation find_comparison(const Token& token) {
  static constexpr std::pair<const char*, Comparison::Operation> kTable[] = {
      {"==", equal},      {"!=", not_equal}, {"<", less},
      {"<=", less_equal}, {">", greater},    {">=", greater_equal}};
  for (const auto& [sign, operation] : kTable) {
    if (token.type == Type::kOperator && token.text == sign) return operation;
  }
  return nullptr;
}

Binary::Operation find_product(const Token& token) {
  static constexpr std::pair<const char*, Binary::Operation> kTable[] = {
      {"*", multiply}, {"/", divide}, {"//", floor_divide}, {"%", modulo}};
  for (const auto& [sign, operation] : kTable) {
    if (token.type == Type::kOperator && token.text == sign) return operation;
  }
  return nullptr;
}

}  // namespace

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.nesting_ > kMaxNodeDepth) {
    --parser_.nesting_;
    syntax_error(parser_.current().line, "nested deeper than {} levels", kMaxNodeDepth);
  }
}

void ExpressionParser::Frame::close() {
  if (parser_.unknown_.size() == start_) return;
  const Unknown& first = parser_.unknown_[start_];
  throw SyntaxError(first.line, first.message, "TemplateAssertionError");
}

const Token& ExpressionParser::next() {
  const Token& token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::is_operator(const Token& token, std::string_view sign) {
  return token.type == Type::kOperator && token.text == sign;
}

bool ExpressionParser::is_name(const Token& token, std::string_view name) {
  return token.type == Type::kName && token.text == name;
}

bool ExpressionParser::skip_operator(std::string_view sign) {
  const bool found = is_operator(sign);
  if (found) next();
  return found;
}

bool ExpressionParser::skip_name(std::string_view name) {
  const bool found = is_name(name);
  if (found) next();
  return found;
}

void ExpressionParser::expect_operator(std::string_view sign) {
  if (skip_operator(sign)) return;
  if (current().type == Type::kEnd) {
    syntax_error(current().line, "unexpected end of template, expected '{}'.", sign);
  }
  syntax_error(current().line, "expected token '{}', got {}", sign,
               repr_text(described(current())));
}

void ExpressionParser::expect(Type type) {
  if (current().type == type) {
    next();
    return;
  }
  const std::string wanted = described({type, 0, type == Type::kName ? "name" : "", Value()});
  if (current().type == Type::kEnd) {
    syntax_error(current().line, "unexpected end of template, expected '{}'.", wanted);
  }
  syntax_error(current().line, "expected token '{}', got {}", wanted,
               repr_text(described(current())));
}

std::string ExpressionParser::expect_name() {
  const Token& token = current();
  expect(Type::kName);
  return token.text;
}

std::string ExpressionParser::described(const Token& token) {
  switch (token.type) {
    case Type::kData:
      return "template data / text";
    case Type::kVariableBegin:
      return "begin of print statement";
    case Type::kVariableEnd:
      return "end of print statement";
    case Type::kBlockBegin:
      return "begin of statement block";
    case Type::kBlockEnd:
      return "end of statement block";
    case Type::kText:
      return "string";
    case Type::kInteger:
      return "integer";
    case Type::kReal:
      return "float";
    case Type::kEnd:
      return "end of template";
    default:
      return token.text;
  }
}

ExpressionPtr ExpressionParser::parse_expression(bool conditional) {
  const Nesting nesting(*this);
  return conditional ? parse_conditional() : parse_or();
}

ExpressionPtr ExpressionParser::parse_conditional() {
  const int line = current().line;
  const std::size_t unknown = count_unknown();
  ExpressionPtr value = parse_or();
  while (skip_name("if")) {
    ExpressionPtr condition = parse_or();
    ExpressionPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    value = make<Conditional>(line, std::move(condition), std::move(value), std::move(otherwise));
    forgive_unknown(unknown);
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  const int line = current().line;
  ExpressionPtr left = parse_and();
  while (skip_name("or")) {
    left = make<Logical>(line, Logical::Kind::kOr, std::move(left), parse_and());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  const int line = current().line;
  ExpressionPtr left = parse_not();
  while (skip_name("and")) {
    left = make<Logical>(line, Logical::Kind::kAnd, std::move(left), parse_not());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  const int line = current().line;
  if (!skip_name("not")) return parse_comparison();
  const Nesting nesting(*this);
  return make<Unary>(line, negation, parse_not());
}

ExpressionPtr ExpressionParser::parse_comparison() {
  const int line = current().line;
  ExpressionPtr first = parse_sum();
  std::vector<Comparison::Step> steps;
  for (;;) {
    Comparison::Operation operation = find_comparison(current());
    if (operation != nullptr) {
      next();
    } else if (skip_name("in")) {
      operation = in;
    } else if (is_name("not") && is_name(look(), "in")) {
      next();
      next();
      operation = not_in;
    } else {
      break;
    }
    steps.emplace_back(operation, parse_sum());
  }
  if (steps.empty()) return first;
  return make<Comparison>(line, std::move(first), std::move(steps));
}

ExpressionPtr ExpressionParser::parse_sum() {
  const int line = current().line;
  ExpressionPtr left = parse_concatenation();
  while (is_operator("+") || is_operator("-")) {
    const Binary::Operation operation = next().text == "+" ? add : subtract;
    left = make<Binary>(line, operation, std::move(left), parse_concatenation());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  const int line = current().line;
  std::vector<ExpressionPtr> parts;
  parts.push_back(parse_product());
  while (skip_operator("~")) parts.push_back(parse_product());
  if (parts.size() == 1) return std::move(parts[0]);
  return make<Concatenation>(line, std::move(parts));
}

ExpressionPtr ExpressionParser::parse_product() {
  const int line = current().line;
  ExpressionPtr left = parse_power();
  while (const Binary::Operation operation = find_product(current())) {
    next();
    left = make<Binary>(line, operation, std::move(left), parse_power());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_power() {
  const int line = current().line;
  ExpressionPtr left = parse_unary();
  // From the left, unlike Python's.
  while (skip_operator("**")) left = make<Binary>(line, power, std::move(left), parse_unary());
  return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  const Nesting nesting(*this);
  const int line = current().line;
  ExpressionPtr value;
  if (skip_operator("-")) {
    value = make<Unary>(line, negate, parse_unary(false));
  } else if (skip_operator("+")) {
    value = make<Unary>(line, posit, parse_unary(false));
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary() {
  const Token& token = current();
  switch (token.type) {
    case Type::kName:
      return parse_name();
    case Type::kText:
      return parse_texts();
    case Type::kInteger:
    case Type::kReal:
      next();
      return make<Constant>(token.line, token.value);
    default:
      break;
  }
  if (is_operator("[")) return parse_list();
  if (is_operator("{")) return parse_dict();
  if (!skip_operator("(")) {
    syntax_error(token.line, "unexpected {}", repr_text(described(token)));
  }
  ExpressionPtr value = parse_tuple({.in_parentheses = true});
  expect_operator(")");
  return value;
}

ExpressionPtr ExpressionParser::parse_name() {
  const Token& token = next();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return make<Constant>(token.line, Value::boolean(true));
  if (name == "false" || name == "False") return make<Constant>(token.line, Value::boolean(false));
  if (name == "none" || name == "None") return make<Constant>(token.line, Value());
  macro_use.caller |= name == "caller";
  macro_use.named |= name == "kwargs";
  macro_use.positional |= name == "varargs";
  return make<Variable>(token.line, name);
}

ExpressionPtr ExpressionParser::parse_texts() {
  const int line = current().line;
  std::string text;
  while (current().type == Type::kText) text += next().text;
  return make<Constant>(line, Value::text(std::move(text)));
}

ExpressionPtr ExpressionParser::parse_list() {
  const int line = next().line;
  std::vector<ExpressionPtr> items;
  while (!is_operator("]")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("]")) break;
    items.push_back(parse_expression());
  }
  expect_operator("]");
  return make<SequenceDisplay>(line, std::move(items), false);
}

ExpressionPtr ExpressionParser::parse_dict() {
  const int line = next().line;
  std::vector<DictDisplay::Item> items;
  while (!is_operator("}")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("}")) break;
    ExpressionPtr key = parse_expression();
    expect_operator(":");
    items.emplace_back(std::move(key), parse_expression());
  }
  expect_operator("}");
  return make<DictDisplay>(line, std::move(items));
}

bool ExpressionParser::is_tuple_end(const TupleOptions& options) const {
  return current().type == Type::kVariableEnd || current().type == Type::kBlockEnd ||
         is_operator(")") || is_name(options.end_name);
}

ExpressionPtr ExpressionParser::parse_tuple(const TupleOptions& options) {
  const int line = current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) expect_operator(",");
    if (is_tuple_end(options)) break;
    items.push_back(parse_expression(options.conditional));
    if (!is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !options.in_parentheses) {
    syntax_error(line, "Expected an expression, got {}", repr_text(described(current())));
  }
  return make<SequenceDisplay>(line, std::move(items), true);
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr value) {
  for (;;) {
    if (is_operator(".")) {
      value = parse_attribute(std::move(value));
    } else if (is_operator("[")) {
      value = parse_subscript(std::move(value));
    } else if (is_operator("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::parse_filters_and_tests(ExpressionPtr value) {
  for (;;) {
    if (skip_operator("|")) {
      value = parse_filter(std::move(value));
    } else if (is_name("is")) {
      value = parse_test(std::move(value));
    } else if (is_operator("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::parse_attribute(ExpressionPtr value) {
  const int line = next().line;
  const Token& token = next();
  if (token.type == Type::kName) return make<Attribute>(line, std::move(value), token.text);
  if (token.type != Type::kInteger) syntax_error(token.line, "expected name or number");
  return make<Subscript>(line, std::move(value), make<Constant>(token.line, token.value));
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr value) {
  const int line = next().line;
  if (is_operator(":")) return parse_slice(std::move(value), nullptr, line);
  std::vector<ExpressionPtr> keys;
  bool is_tuple = false;
  while (!is_operator("]")) {
    if (!keys.empty()) {
      expect_operator(",");
      is_tuple = true;
      if (is_operator("]")) break;
    }
    keys.push_back(parse_expression());
    if (is_operator(":")) {
      if (is_tuple) syntax_error(current().line, "a slice cannot be part of a tuple");
      return parse_slice(std::move(value), std::move(keys[0]), line);
    }
  }
  expect_operator("]");
  ExpressionPtr key =
      keys.size() == 1 ? std::move(keys[0]) : make<SequenceDisplay>(line, std::move(keys), true);
  return make<Subscript>(line, std::move(value), std::move(key));
}

ExpressionPtr ExpressionParser::parse_slice(ExpressionPtr value, ExpressionPtr start, int line) {
  const auto part = [&]() -> ExpressionPtr {
    if (!skip_operator(":") || is_operator(":") || is_operator("]")) return nullptr;
    return parse_expression();
  };
  Slice::Parts parts{.start = std::move(start), .stop = nullptr, .step = nullptr};
  parts.stop = part();
  parts.step = part();
  expect_operator("]");
  return make<Slice>(line, std::move(value), std::move(parts));
}

CallArguments ExpressionParser::parse_arguments() {
  const int line = current().line;
  expect_operator("(");
  CallArguments arguments;
  bool any = false;
  while (!is_operator(")")) {
    if (any) {
      expect_operator(",");
      if (is_operator(")")) break;
    }
    parse_argument(arguments, line);
    any = true;
  }
  expect_operator(")");
  return arguments;
}

void ExpressionParser::parse_argument(CallArguments& arguments, int line) {
  const auto ensure = [line](bool good) {
    if (!good) syntax_error(line, "invalid syntax for function call expression");
  };
  if (skip_operator("*")) {
    ensure(arguments.more_positional == nullptr && arguments.more_named == nullptr);
    arguments.more_positional = parse_expression();
  } else if (skip_operator("**")) {
    ensure(arguments.more_named == nullptr);
    arguments.more_named = parse_expression();
  } else if (current().type == Type::kName && is_operator(look(), "=")) {
    ensure(arguments.more_named == nullptr);
    const std::string name = next().text;
    next();
    const bool repeated = std::any_of(arguments.named.begin(), arguments.named.end(),
                                      [&](const auto& argument) { return argument.first == name; });
    if (repeated) syntax_error(line, "keyword argument repeated: {}", name);
    arguments.named.emplace_back(name, parse_expression());
  } else {
    ensure(arguments.more_positional == nullptr && arguments.more_named == nullptr &&
           arguments.named.empty());
    arguments.positional.push_back(parse_expression());
  }
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr function) {
  const int line = current().line;
  CallArguments arguments = parse_arguments();
  return make<Call>(line, std::move(function), std::move(arguments));
}

std::string ExpressionParser::parse_dotted_name() {
  std::string name = expect_name();
  while (skip_operator(".")) name += "." + expect_name();
  return name;
}

std::unique_ptr<const FilterCall> ExpressionParser::parse_filter(ExpressionPtr value) {
  const int line = current().line;
  const std::string name = parse_dotted_name();
  if (find_filter(name) == nullptr) {
    unknown_.push_back({line, "No filter named " + repr_text(name) + "."});
  }
  CallArguments arguments = is_operator("(") ? parse_arguments() : CallArguments();
  return std::make_unique<const FilterCall>(line, std::move(value), name, std::move(arguments));
}

std::unique_ptr<const FilterCall> ExpressionParser::parse_filters(bool first_pipe) {
  std::unique_ptr<const FilterCall> filter;
  while (!first_pipe || skip_operator("|")) {
    first_pipe = true;
    filter = parse_filter(std::move(filter));
  }
  return filter;
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr value) {
  const int line = next().line;
  const bool negated = skip_name("not");
  const std::string name = parse_dotted_name();
  if (find_test(name) == nullptr) {
    unknown_.push_back({line, "No test named " + repr_text(name) + "."});
  }
  CallArguments arguments;
  const Type type = current().type;
  const bool ends = is_name("else") || is_name("or") || is_name("and");
  if (is_operator("(")) {
    arguments = parse_arguments();
  } else if (!ends && (type == Type::kName || type == Type::kText || type == Type::kInteger ||
                       type == Type::kReal || is_operator("[") || is_operator("{"))) {
    if (is_name("is")) syntax_error(current().line, "You cannot chain multiple tests with is");
    arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  ExpressionPtr test = make<TestCall>(line, std::move(value), name, std::move(arguments));
  return negated ? make<Unary>(line, negation, std::move(test)) : std::move(test);
}

void ExpressionParser::check_target_name(const std::string& name, int line) const {
  static constexpr std::string_view kConstants[] = {"true",  "True", "false",
                                                    "False", "none", "None"};
  if (std::find(std::begin(kConstants), std::end(kConstants), name) != std::end(kConstants)) {
    syntax_error(line, "can't assign to 'const'");
  }
  if (name == "loop" && loops_around > 0) {
    throw SyntaxError(line, "Can't assign to special loop variable in for-loop target",
                      "TemplateAssertionError");
  }
}

Target ExpressionParser::parse_single_target(bool namespaces) {
  const Nesting nesting(*this);
  Target target;
  const int line = current().line;
  if (skip_operator("(")) {
    target = parse_target("", namespaces);
    expect_operator(")");
    return target;
  }
  if (current().type == Type::kText || current().type == Type::kInteger ||
      current().type == Type::kReal) {
    syntax_error(line, "can't assign to 'const'");
  }
  if (current().type != Type::kName) {
    syntax_error(line, "can't assign to {}", repr_text(described(current())));
  }
  target.name = next().text;
  if (namespaces && skip_operator(".")) {
    target.attribute = expect_name();
  } else {
    check_target_name(target.name, line);
  }
  return target;
}

Target ExpressionParser::parse_target(const char* end_name, bool namespaces) {
  const TupleOptions ends{.end_name = end_name};
  const int line = current().line;
  std::vector<Target> parts;
  bool is_tuple = false;
  for (;;) {
    if (!parts.empty()) expect_operator(",");
    if (is_tuple_end(ends) || is_operator("=")) break;
    parts.push_back(parse_single_target(namespaces));
    if (!is_operator(",")) break;
    is_tuple = true;
  }
  if (parts.empty()) {
    syntax_error(line, "Expected an expression, got {}", repr_text(described(current())));
  }
  if (!is_tuple) return std::move(parts[0]);
  Target target;
  target.is_tuple = true;
  target.parts = std::move(parts);
  return target;
}

Target ExpressionParser::parse_name_target() {
  const int line = current().line;
  Target target;
  target.name = expect_name();
  check_target_name(target.name, line);
  return target;
}

}  // namespace nibble::jinja
