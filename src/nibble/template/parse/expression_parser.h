// The half of the parser that reads expressions.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/template/parse/lexer.h"
#include "nibble/template/run/expression.h"
#include "nibble/template/run/statement.h"

namespace nibble::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  using Names = std::initializer_list<const char*>;

  struct TupleOptions {
    bool conditional = true;      // may hold a conditional expression
    const char* end_name = "";    // a name that ends it too
    bool in_parentheses = false;  // may be empty
  };

  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next();
  bool is_operator(std::string_view sign) const { return is_operator(current(), sign); }
  static bool is_operator(const Token& token, std::string_view sign);
  bool is_name(std::string_view name) const { return is_name(current(), name); }
  static bool is_name(const Token& token, std::string_view name);
  bool skip_operator(std::string_view sign);
  bool skip_name(std::string_view name);
  void expect_operator(std::string_view sign);
  void expect(Token::Type type);
  std::string expect_name();
  /// The token as messages call it.
  static std::string described(const Token& token);

  ExpressionPtr parse_expression(bool conditional = true);
  ExpressionPtr parse_tuple(const TupleOptions& options);
  Target parse_target(const char* end_name, bool namespaces);
  Target parse_name_target();
  /// Filters without a value in front, of set and filter blocks.
  std::unique_ptr<const FilterCall> parse_filters(bool first_pipe);

  /// Counts blocks and expressions inside each other, as long as it lives.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

  /// The body of a loop, macro or another block with variables of its own. An unknown filter or
  /// test in it is an error, unless it stands under a condition.
  class Frame {
   public:
    explicit Frame(ExpressionParser& parser) : parser_(parser), start_(parser.unknown_.size()) {}
    /// Throws SyntaxError for what is unknown.
    void close();

   private:
    ExpressionParser& parser_;
    std::size_t start_;
  };

  /// What is unknown so far may be found out when it is used.
  void forgive_unknown(std::size_t from) { unknown_.resize(from); }
  std::size_t count_unknown() const { return unknown_.size(); }

  struct MacroUse {
    bool caller = false;
    bool named = false;
    bool positional = false;
  };
  MacroUse macro_use;    // of the names a macro's body may use without declaring them
  int loops_around = 0;  // in this frame or outside: `loop` cannot be assigned

 private:
  struct Unknown {
    int line;
    std::string message;
  };

  ExpressionPtr parse_conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters = true);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_name();
  ExpressionPtr parse_texts();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr value);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr value);
  ExpressionPtr parse_attribute(ExpressionPtr value);
  ExpressionPtr parse_subscript(ExpressionPtr value);
  ExpressionPtr parse_slice(ExpressionPtr value, ExpressionPtr start, int line);
  ExpressionPtr parse_call(ExpressionPtr function);
  std::unique_ptr<const FilterCall> parse_filter(ExpressionPtr value);
  ExpressionPtr parse_test(ExpressionPtr value);
  CallArguments parse_arguments();
  void parse_argument(CallArguments& arguments, int line);
  std::string parse_dotted_name();
  bool is_tuple_end(const TupleOptions& options) const;
  Target parse_single_target(bool namespaces);
  void check_target_name(const std::string& name, int line) const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int nesting_ = 0;
  std::vector<Unknown> unknown_;
};

}  // namespace nibble::jinja
