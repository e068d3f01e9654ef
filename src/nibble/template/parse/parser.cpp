#include "nibble/template/parse/parser.h"

#include <algorithm>

#include "nibble/template/parse/expression_parser.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

using Type = Token::Type;

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body parse_template() {
    Frame frame(*this);
    Body body = parse_until({});
    frame.close();
    return body;
  }

 private:
  bool at_any(Names names) const {
    return std::any_of(names.begin(), names.end(), [this](const char* n) { return is_name(n); });
  }

  /// Statements up to a tag of one of the names, which becomes the current token; without names up
  /// to the end of the template.
  Body parse_until(Names names) {
    const Nesting nesting(*this);
    Body body;
    while (current().type != Type::kEnd) {
      const Token& token = next();
      if (token.type == Type::kData) {
        body.add(std::make_unique<Data>(token.line, token.text));
      } else if (token.type == Type::kVariableBegin) {
        body.add(std::make_unique<Print>(token.line, parse_tuple({})));
        expect(Type::kVariableEnd);
      } else {
        if (at_any(names)) return body;
        parse_statement(body, names);
        expect(Type::kBlockEnd);
      }
    }
    if (names.size() > 0) {
      syntax_error(current().line, "Unexpected end of template. {}", what_is_open(names));
    }
    return body;
  }

  /// What an unexpected end or tag stands in.
  std::string what_is_open(Names names) const {
    std::string text = "Jinja was looking for the following tags: " + quoted(names) + ".";
    if (!open_tags_.empty()) {
      text +=
          " The innermost block that needs to be closed is " + repr_text(open_tags_.back()) + ".";
    }
    return text;
  }

  static std::string quoted(Names names) {
    std::string text;
    for (const char* name : names) {
      text += (text.empty() ? "'" : " or '") + std::string(name) + "'";
    }
    return text;
  }

  /// The body of a block whose opening tag was read up to its end, and the tag that ends it.
  Body parse_body(Names names) {
    skip_operator(":");
    expect(Type::kBlockEnd);
    Body body = parse_until(names);
    if (names.size() == 1) next();
    return body;
  }

  /// The same with variables of its own.
  Body parse_frame(Names names) {
    Frame frame(*this);
    Body body = parse_body(names);
    frame.close();
    return body;
  }

  void parse_statement(Body& body, Names names) {
    if (current().type != Type::kName) syntax_error(current().line, "tag name expected");
    const Token& tag = next();
    open_tags_.push_back(tag.text);
    if (!parse_known(tag, body)) {
      open_tags_.pop_back();
      refuse_tag(tag, names);
    }
    open_tags_.pop_back();
  }

  /// False if there is no such tag.
  bool parse_known(const Token& tag, Body& body) {
    const int line = tag.line;
    if (tag.text == "if") {
      body.add(parse_if(line));
    } else if (tag.text == "for") {
      body.add(parse_for(line));
    } else if (tag.text == "set") {
      body.add(parse_set(line));
    } else if (tag.text == "macro") {
      body.add(parse_macro(line));
    } else if (tag.text == "call") {
      body.add(parse_call_block(line));
    } else if (tag.text == "filter") {
      body.add(parse_filter_block(line));
    } else if (tag.text == "with") {
      body.add(parse_with(line));
    } else if (tag.text == "print") {
      parse_print(line, body);
    } else if (tag.text == "generation") {
      body.add(parse_generation(line));
    } else if (tag.text == "break" || tag.text == "continue") {
      body.add(parse_jump(line, tag.text == "break" ? Flow::kBreak : Flow::kContinue));
    } else {
      return false;
    }
    return true;
  }

  [[noreturn]] void refuse_tag(const Token& tag, Names names) const {
    for (const char* known : {"block", "extends", "include", "import", "from", "autoescape"}) {
      if (tag.text == known) {
        syntax_error(tag.line, "the tag '{}' is not supported: a chat template is one file of text",
                     known);
      }
    }
    if (names.size() == 0) {
      syntax_error(tag.line, "Encountered unknown tag {}.", repr_text(tag.text));
    }
    syntax_error(tag.line, "Encountered unknown tag {}. {}", repr_text(tag.text),
                 what_is_open(names));
  }

  StatementPtr parse_if(int line) {
    std::vector<If::Branch> branches;
    const std::size_t unknown = count_unknown();
    for (bool more = true; more;) {
      ExpressionPtr condition = parse_tuple({.conditional = false});
      Body body = parse_body({"elif", "else", "endif"});
      branches.push_back({std::move(condition), std::move(body)});
      const std::string& tag = next().text;
      more = tag == "elif";
      if (tag == "else") branches.push_back({nullptr, parse_body({"endif"})});
    }
    forgive_unknown(unknown);
    return std::make_unique<If>(line, std::move(branches));
  }

  StatementPtr parse_for(int line) {
    For::Parts parts;
    ++loops_around;
    parts.target = parse_target("in", false);
    --loops_around;
    if (!skip_name("in")) {
      syntax_error(current().line, "expected token 'in', got {}", repr_text(described(current())));
    }
    parts.items = parse_tuple({.conditional = false, .end_name = "recursive"});
    Frame frame(*this);
    if (skip_name("if")) parts.condition = parse_expression();
    parts.recursive = skip_name("recursive");
    ++loops_around;
    ++jumpable_;
    parts.body = parse_body({"endfor", "else"});
    --jumpable_;
    if (next().text == "else") parts.otherwise = parse_body({"endfor"});
    --loops_around;
    frame.close();
    return std::make_unique<For>(line, std::move(parts));
  }

  StatementPtr parse_set(int line) {
    SetBlock::Parts parts;
    parts.target = parse_target("", true);
    if (skip_operator("=")) {
      return std::make_unique<Set>(line, std::move(parts.target), parse_tuple({}));
    }
    parts.filter = parse_filters(true);
    parts.body = parse_frame({"endset"});
    return std::make_unique<SetBlock>(line, std::move(parts));
  }

  /// "(a, b=1)" of a macro or a call block.
  void parse_parameters(MacroDefinition& definition) {
    expect_operator("(");
    bool optional = false;
    while (!is_operator(")")) {
      if (!definition.parameters.empty()) expect_operator(",");
      MacroDefinition::Parameter parameter{.name = expect_name(), .fallback = nullptr};
      if (skip_operator("=")) {
        parameter.fallback = parse_expression();
        optional = true;
      } else if (optional) {
        syntax_error(current().line, "non-default argument follows default argument");
      } else if (parameter.name == "caller") {
        syntax_error(current().line,
                     "When defining macros or call blocks the special \"caller\" argument must be "
                     "omitted or be given a default.");
      }
      definition.parameters.push_back(std::move(parameter));
    }
    expect_operator(")");
  }

  void parse_macro_body(MacroDefinition& definition, Names names) {
    const MacroUse outer = std::exchange(macro_use, {});
    const int jumpable = std::exchange(jumpable_, 0);
    definition.body = parse_frame(names);
    jumpable_ = jumpable;
    definition.uses_caller = macro_use.caller;
    definition.uses_named = macro_use.named;
    definition.uses_positional = macro_use.positional;
    macro_use.caller |= outer.caller;
    macro_use.named |= outer.named;
    macro_use.positional |= outer.positional;
  }

  StatementPtr parse_macro(int line) {
    MacroDefinition definition;
    definition.line = line;
    definition.name = parse_name_target().name;
    parse_parameters(definition);
    parse_macro_body(definition, {"endmacro"});
    return std::make_unique<Macro>(std::move(definition));
  }

  StatementPtr parse_call_block(int line) {
    MacroDefinition definition;
    definition.line = line;
    if (is_operator("(")) parse_parameters(definition);
    ExpressionPtr expression = parse_expression();
    const auto* call = dynamic_cast<const Call*>(expression.get());
    if (call == nullptr) syntax_error(line, "expected call");
    expression.release();
    std::unique_ptr<const Call> owned(call);
    parse_macro_body(definition, {"endcall"});
    return std::make_unique<CallBlock>(line, std::move(owned), std::move(definition));
  }

  StatementPtr parse_filter_block(int line) {
    std::unique_ptr<const FilterCall> filter = parse_filters(false);
    return std::make_unique<FilterBlock>(line, std::move(filter), parse_frame({"endfilter"}));
  }

  StatementPtr parse_with(int line) {
    std::vector<With::Assignment> assignments;
    while (current().type != Type::kBlockEnd) {
      if (!assignments.empty()) expect_operator(",");
      Target target = parse_target("", false);
      expect_operator("=");
      assignments.emplace_back(std::move(target), parse_expression());
    }
    return std::make_unique<With>(line, std::move(assignments), parse_frame({"endwith"}));
  }

  void parse_print(int line, Body& body) {
    bool any = false;
    while (current().type != Type::kBlockEnd && current().type != Type::kEnd) {
      if (any) expect_operator(",");
      any = true;
      body.add(std::make_unique<Print>(line, parse_expression()));
    }
  }

  StatementPtr parse_generation(int line) {
    const int jumpable = std::exchange(jumpable_, 0);
    Body body = parse_frame({"endgeneration"});
    jumpable_ = jumpable;
    return std::make_unique<Generation>(line, std::move(body));
  }

  StatementPtr parse_jump(int line, Flow flow) const {
    if (jumpable_ == 0) {
      syntax_error(line, "'{}' outside loop", flow == Flow::kBreak ? "break" : "continue");
    }
    return std::make_unique<Jump>(line, flow);
  }

  std::vector<std::string> open_tags_;
  int jumpable_ = 0;  // loops of this frame that break and continue can mean
};

}  // namespace

Body parse(std::string_view source) {
  return Parser(tokenize(source)).parse_template();
}

}  // namespace nibble::jinja
