#include "search/conditions.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"

namespace rung {

namespace {

using Node = Condition::Node;
using Comparison = Condition::Comparison;
using Literal = Condition::Literal;
using Op = Condition::Comparison::Op;

enum class Truth { kFalse, kUnknown, kTrue };

std::optional<double> AsNumber(const Value& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return std::nullopt;
}

std::string PlainText(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return "";
}

// -1, 0, 1 as value is below, at, above the literal; nullopt where they cannot be compared.
std::optional<int> Compare(const Value& value, const Literal& literal) {
  if (const std::optional<double> number = AsNumber(value)) {
    if (!literal.number.has_value()) return std::nullopt;
    return *number < *literal.number ? -1 : (*number > *literal.number ? 1 : 0);
  }
  return PlainText(value).compare(literal.text);
}

std::optional<int> ComparePlaces(const Value& value, const Literal& literal,
                                 const std::vector<Value>& order) {
  std::optional<int> left, right;
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] == value) left = static_cast<int>(i);
    if (Matches(order[i], literal)) right = static_cast<int>(i);
  }
  if (!left.has_value() || !right.has_value()) return Compare(value, literal);
  return *left - *right;
}

bool InOrder(Op op, int order) {
  switch (op) {
    case Op::kLess:
      return order < 0;
    case Op::kLessEqual:
      return order <= 0;
    case Op::kGreater:
      return order > 0;
    case Op::kGreaterEqual:
      return order >= 0;
    case Op::kEqual:
      return order == 0;
    case Op::kNotEqual:
      return order != 0;
    case Op::kIn:
    case Op::kActive:
    case Op::kInactive:
      break;
  }
  return false;
}

// Two parameters: by their values, ordinals too.
bool Related(Op op, const Value& left, const Value& right) {
  const std::optional<double> a = AsNumber(left), b = AsNumber(right);
  if (a.has_value() != b.has_value()) return op == Op::kNotEqual;
  const int order =
      a.has_value() ? (*a < *b ? -1 : (*a > *b ? 1 : 0)) : PlainText(left).compare(PlainText(right));
  return InOrder(op, order);
}

}  // namespace

bool Matches(const Value& value, const Comparison& comparison) {
  if (comparison.op == Op::kActive) return true;
  if (comparison.op == Op::kInactive) return false;
  if (comparison.op == Op::kIn) {
    return std::any_of(comparison.literals.begin(), comparison.literals.end(),
                       [&](const Literal& literal) { return Matches(value, literal); });
  }
  const Literal& literal = comparison.literals.front();
  if (comparison.op == Op::kEqual) return Matches(value, literal);
  if (comparison.op == Op::kNotEqual) return !Matches(value, literal);
  const std::optional<int> order =
      comparison.order.empty() ? Compare(value, literal) : ComparePlaces(value, literal, comparison.order);
  return order.has_value() && InOrder(comparison.op, *order);
}

namespace {

Truth Evaluate(const Comparison& comparison, const Config& config) {
  const auto found = config.find(comparison.parameter);
  const auto truth = [](bool holds) { return holds ? Truth::kTrue : Truth::kFalse; };
  if (comparison.op == Op::kActive) return truth(found != config.end());
  if (comparison.op == Op::kInactive) return truth(found == config.end());
  if (found == config.end()) return Truth::kUnknown;
  if (!comparison.literals.front().is_parameter) return truth(Matches(found->second, comparison));
  const auto other = config.find(comparison.literals.front().text);
  if (other == config.end()) return Truth::kUnknown;
  return truth(Related(comparison.op, found->second, other->second));
}

Truth Evaluate(const Node& node, const Config& config) {
  switch (node.kind) {
    case Node::Kind::kCompare:
      return Evaluate(node.comparison, config);
    case Node::Kind::kNot: {
      const Truth inner = Evaluate(*node.children[0], config);
      if (inner == Truth::kUnknown) return inner;
      return inner == Truth::kTrue ? Truth::kFalse : Truth::kTrue;
    }
    case Node::Kind::kAnd: {
      Truth all = Truth::kTrue;
      for (const auto& child : node.children) all = std::min(all, Evaluate(*child, config));
      return all;
    }
    case Node::Kind::kOr: {
      Truth any = Truth::kFalse;
      for (const auto& child : node.children) any = std::max(any, Evaluate(*child, config));
      return any;
    }
  }
  return Truth::kUnknown;
}

struct Token {
  enum class Kind { kWord, kQuoted, kSymbol, kEnd } kind = Kind::kEnd;
  std::string text;
  size_t column = 1;
};

bool IsSymbol(char c) {
  return std::string("=!<>(),").find(c) != std::string::npos;
}
bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

absl::Status SyntaxError(const std::string& text, size_t column, const std::string& expected) {
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"E0220",
       absl::StrFormat("condition \"%s\": column %d: expected %s", Shortened(text), column, expected), "",
       Shortened(text), "Write comparisons like: optimizer_name in (Adam, AdamW) and learning_rate < 1e-4"});
}

absl::StatusOr<std::vector<Token>> Tokens(const std::string& text) {
  std::vector<Token> tokens;
  size_t at = 0;
  while (at < text.size()) {
    const size_t start = at;
    const char c = text[at];
    if (IsBlank(c)) {
      ++at;
    } else if (c == '"' || c == '\'') {
      const size_t end = text.find(c, at + 1);
      if (end == std::string::npos) return SyntaxError(text, start + 1, "a closing quote");
      tokens.push_back({Token::Kind::kQuoted, text.substr(at + 1, end - at - 1), start + 1});
      at = end + 1;
    } else if (IsSymbol(c)) {
      const bool two =
          (c == '!' || c == '<' || c == '>' || c == '=') && at + 1 < text.size() && text[at + 1] == '=';
      std::string symbol = text.substr(at, two ? 2 : 1);
      if (symbol == "==") symbol = "=";
      if (symbol == "!") return SyntaxError(text, start + 1, "!= (or the word not)");
      tokens.push_back({Token::Kind::kSymbol, symbol, start + 1});
      at += two ? 2 : 1;
    } else {
      while (at < text.size() && !IsBlank(text[at]) && !IsSymbol(text[at]) && text[at] != '"' &&
             text[at] != '\'')
        ++at;
      tokens.push_back({Token::Kind::kWord, text.substr(start, at - start), start + 1});
    }
  }
  tokens.push_back({Token::Kind::kEnd, "", text.size() + 1});
  return tokens;
}

}  // namespace

// Recursive descent: or < and < not < comparison | ( or ).
class ConditionParser {
 public:
  ConditionParser(const std::string& text, std::vector<Token> tokens) : tokens_(std::move(tokens)) {
    condition_.text_ = text;
  }

  absl::StatusOr<Condition> Run() {
    RUNG_ASSIGN_OR_RETURN(condition_.root_, Joined(Node::Kind::kOr, 0));
    if (Peek().kind != Token::Kind::kEnd) return Expected("and, or, or the end");
    return condition_;
  }

 private:
  using Part = absl::StatusOr<std::shared_ptr<const Node>>;

  const Token& Peek() const { return tokens_[at_]; }
  bool Take(Token::Kind kind, const std::string& text) {
    if (Peek().kind != kind || Peek().text != text) return false;
    ++at_;
    return true;
  }
  absl::Status Expected(const std::string& what) const {
    return SyntaxError(condition_.text_, Peek().column, what);
  }

  Part Joined(Node::Kind kind, int depth) {
    const std::string word = kind == Node::Kind::kOr ? "or" : "and";
    std::vector<std::shared_ptr<const Node>> parts;
    do {
      RUNG_ASSIGN_OR_RETURN(std::shared_ptr<const Node> part,
                            kind == Node::Kind::kOr ? Joined(Node::Kind::kAnd, depth) : Unary(depth));
      parts.push_back(std::move(part));
    } while (Take(Token::Kind::kWord, word));
    if (parts.size() == 1) return parts.front();
    return std::make_shared<const Node>(Node{kind, {}, std::move(parts)});
  }

  Part Unary(int depth) {
    if (depth >= Condition::kMaxDepth) return Expected("less nesting");
    if (Take(Token::Kind::kWord, "not")) {
      RUNG_ASSIGN_OR_RETURN(std::shared_ptr<const Node> inner, Unary(depth + 1));
      return std::make_shared<const Node>(Node{Node::Kind::kNot, {}, {std::move(inner)}});
    }
    if (Take(Token::Kind::kSymbol, "(")) {
      RUNG_ASSIGN_OR_RETURN(std::shared_ptr<const Node> inner, Joined(Node::Kind::kOr, depth + 1));
      if (!Take(Token::Kind::kSymbol, ")")) return Expected("\")\"");
      return inner;
    }
    return Compare();
  }

  Part Compare() {
    if (Peek().kind != Token::Kind::kWord && Peek().kind != Token::Kind::kQuoted)
      return Expected("a parameter");
    Comparison comparison;
    comparison.parameter = tokens_[at_++].text;
    if (Take(Token::Kind::kWord, "is")) {
      const bool active = Take(Token::Kind::kWord, "active");
      if (!active && !Take(Token::Kind::kWord, "inactive")) return Expected("active or inactive");
      comparison.op = active ? Op::kActive : Op::kInactive;
    } else if (Take(Token::Kind::kWord, "in")) {
      comparison.op = Op::kIn;
      if (!Take(Token::Kind::kSymbol, "(")) return Expected("\"(\" after in");
      do {
        RUNG_RETURN_IF_ERROR(TakeLiteral(comparison));
      } while (Take(Token::Kind::kSymbol, ","));
      if (!Take(Token::Kind::kSymbol, ")")) return Expected("\",\" or \")\"");
    } else {
      static constexpr std::pair<const char*, Op> kOperators[] = {
          {"=", Op::kEqual},      {"!=", Op::kNotEqual}, {"<", Op::kLess},
          {"<=", Op::kLessEqual}, {">", Op::kGreater},   {">=", Op::kGreaterEqual}};
      const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators), [&](const auto& entry) {
        return Peek().kind == Token::Kind::kSymbol && Peek().text == entry.first;
      });
      if (found == std::end(kOperators)) return Expected("= != < <= > >= in or is");
      ++at_;
      comparison.op = found->second;
      RUNG_RETURN_IF_ERROR(TakeLiteral(comparison));
    }
    condition_.parameters_.insert(comparison.parameter);
    return std::make_shared<const Node>(Node{Node::Kind::kCompare, std::move(comparison), {}});
  }

  absl::Status TakeLiteral(Comparison& comparison) {
    if (Peek().kind != Token::Kind::kWord && Peek().kind != Token::Kind::kQuoted) return Expected("a value");
    Literal literal;
    literal.quoted = Peek().kind == Token::Kind::kQuoted;
    literal.text = tokens_[at_++].text;
    double number = 0;
    if (absl::SimpleAtod(literal.text, &number) && std::isfinite(number)) literal.number = number;
    comparison.literals.push_back(std::move(literal));
    return absl::OkStatus();
  }

  Condition condition_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

absl::StatusOr<Condition> Condition::Parse(const std::string& text) {
  RUNG_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokens(text));
  return ConditionParser(text, std::move(tokens)).Run();
}

bool Condition::Holds(const Config& config) const {
  RUNG_CHECK(root_ != nullptr, "a parsed condition");
  return Evaluate(*root_, config) == Truth::kTrue;
}

namespace {

absl::StatusOr<std::shared_ptr<const Node>> MappedNode(
    const Node& node, const std::function<absl::StatusOr<Comparison>(Comparison)>& map) {
  Node copy{node.kind, node.comparison, {}};
  if (node.kind == Node::Kind::kCompare) {
    RUNG_ASSIGN_OR_RETURN(copy.comparison, map(node.comparison));
  }
  for (const auto& child : node.children) {
    RUNG_ASSIGN_OR_RETURN(std::shared_ptr<const Node> mapped, MappedNode(*child, map));
    copy.children.push_back(std::move(mapped));
  }
  return std::make_shared<const Node>(std::move(copy));
}

}  // namespace

absl::StatusOr<Condition> Condition::Mapped(
    const std::function<absl::StatusOr<Comparison>(Comparison)>& map) const {
  Condition mapped = *this;
  RUNG_ASSIGN_OR_RETURN(mapped.root_, MappedNode(*root_, [&](Comparison comparison) {
                          absl::StatusOr<Comparison> result = map(std::move(comparison));
                          if (!result.ok()) return result;
                          for (const Literal& literal : result->literals) {
                            if (literal.is_parameter) mapped.parameters_.insert(literal.text);
                          }
                          return result;
                        }));
  return mapped;
}

std::optional<std::string> ConditionWord(const std::string& text, bool quote_word) {
  static constexpr const char* kWords[] = {"and", "or", "not", "in", "is"};
  const bool one_word = !text.empty() && std::none_of(text.begin(), text.end(), [](char c) {
    return IsBlank(c) || IsSymbol(c) || c == '"' || c == '\'';
  });
  const bool reserved = std::find(std::begin(kWords), std::end(kWords), text) != std::end(kWords);
  if (one_word && !reserved && !quote_word) return text;
  if (text.find('"') == std::string::npos) return '"' + text + '"';
  if (text.find('\'') == std::string::npos) return '\'' + text + '\'';
  return std::nullopt;
}

bool Matches(const Value& value, const Condition::Literal& literal) {
  if (const std::optional<double> number = AsNumber(value)) {
    return literal.number.has_value() && *number == *literal.number;
  }
  return PlainText(value) == literal.text;
}

}  // namespace rung
