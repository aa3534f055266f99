// Conditions over parameters: "optimizer_name in (Adam, AdamW) and not low > high". Grammar in
// docs/study-file.md. Immutable after parsing; thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "search/trial.h"

namespace rung {

class Condition {
 public:
  static constexpr int kMaxDepth = 256;

  // Comparisons = != < <= > >= in (...) with values or with another parameter, "is active", "is inactive",
  // and or not, parentheses; quotes only where a value has blanks. Errors: InvalidArgument (E0220) naming the
  // column.
  static absl::StatusOr<Condition> Parse(const std::string& text);

  // True if it holds. A comparison on an absent (inactive) parameter is neither true nor false, and so is its
  // `not`; `or` is true if any side is, `and` false if any side is.
  bool Holds(const Config& config) const;

  const std::set<std::string>& parameters() const { return parameters_; }
  const std::string& text() const { return text_; }

  // A value as written, and what it reads as.
  struct Literal {
    std::string text;
    std::optional<double> number;
    bool quoted = false;
    bool is_parameter = false;  // a relation: the text names the other parameter; only Space can tell
  };
  struct Comparison {
    enum class Op { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kActive, kInactive };
    std::string parameter;
    Op op = Op::kEqual;
    std::vector<Literal> literals;  // one; several for kIn; none for kActive and kInactive
    // Values of an ordinal in their order: then < and > compare places, not values.
    std::vector<Value> order;
  };
  struct Node {
    enum class Kind { kCompare, kAnd, kOr, kNot } kind = Kind::kCompare;
    Comparison comparison;
    std::vector<std::shared_ptr<const Node>> children;  // owners: the conditions that have this node
  };
  const Node& root() const { return *root_; }
  // The condition with every comparison replaced; how Space checks literals against parameters and orders
  // ordinals.
  absl::StatusOr<Condition> Mapped(const std::function<absl::StatusOr<Comparison>(Comparison)>& map) const;

 private:
  std::string text_;
  std::set<std::string> parameters_;
  std::shared_ptr<const Node> root_;  // owners: this condition and its copies
  friend class ConditionParser;
};

// Equal as a condition reads it: numbers by value (2 = 2.0), others by their text.
bool Matches(const Value& value, const Condition::Literal& literal);
// Whether a comparison with values (no relation) holds for this value of its parameter.
bool Matches(const Value& value, const Condition::Comparison& comparison);

// A name or a value as it may stand in a condition: in quotes where it would not be one word, or where
// `quote_word` says that the bare word means something else. nullopt: it has both kinds of quotes.
std::optional<std::string> ConditionWord(const std::string& text, bool quote_word);

}  // namespace rung
