// Our spaces as ConfigSpace's JSON.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "search/configspace.h"
#include "search/json_position.h"

namespace rung {
namespace {

using Json = nlohmann::json;
using Node = Condition::Node;
using Comparison = Condition::Comparison;
using Op = Condition::Comparison::Op;

constexpr int64_t kMaxSteps = 10000;

absl::Status Unwritable(const std::string& what, const std::string& where, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0227", "ConfigSpace cannot say " + what, where, "", mend});
}

Op Opposite(Op op) {
  switch (op) {
    case Op::kEqual:
      return Op::kNotEqual;
    case Op::kNotEqual:
      return Op::kEqual;
    case Op::kLess:
      return Op::kGreaterEqual;
    case Op::kLessEqual:
      return Op::kGreater;
    case Op::kGreater:
      return Op::kLessEqual;
    case Op::kGreaterEqual:
      return Op::kLess;
    case Op::kActive:
      return Op::kInactive;
    case Op::kInactive:
      return Op::kActive;
    case Op::kIn:
      break;
  }
  return op;
}

// A clause as ConfigSpace says it: an object, or that it never holds.
struct Clause {
  Json json;
  bool never = false;
};

// Writes one condition of `child`, or one forbidden clause where child is empty.
class ClauseWriter {
 public:
  ClauseWriter(const Space& space, std::string child, std::string where)
      : space_(space), child_(std::move(child)), where_(std::move(where)) {}

  absl::StatusOr<Clause> Write(const Node& node, bool negated) const;

 private:
  bool is_condition() const { return !child_.empty(); }
  absl::StatusOr<Clause> Compared(Comparison comparison, bool negated) const;
  absl::StatusOr<Clause> Relation(const Comparison& comparison, Op op) const;
  Clause AmongChoices(const Parameter& parameter, const Comparison& comparison, bool negated) const;
  Clause InRange(const Parameter& parameter, Op op, double number) const;
  // != with an inactive parent holds in ConfigSpace: the only way to say "is inactive or !=".
  const Comparison* NotEqualOrInactive(const Node& node) const;
  Clause One(const std::string& name, Op op, const Json& value) const;
  Clause Joined(std::vector<Clause> parts, bool all) const;

  const Space& space_;
  const std::string child_;
  const std::string where_;
};

Clause ClauseWriter::One(const std::string& name, Op op, const Json& value) const {
  const char* type = op == Op::kEqual          ? (is_condition() ? "EQ" : "EQUALS")
                     : op == Op::kNotEqual     ? "NEQ"
                     : op == Op::kIn           ? "IN"
                     : op == Op::kLess         ? (is_condition() ? "LT" : "CLAUSE_LT")
                     : op == Op::kLessEqual    ? "CLAUSE_LE"
                     : op == Op::kGreaterEqual ? "CLAUSE_GE"
                                               : (is_condition() ? "GT" : "CLAUSE_GT");
  Json json = {{"type", type}, {op == Op::kIn ? "values" : "value", value}};
  if (is_condition()) {
    json["child"] = child_;
    json["parent"] = name;
  } else {
    json["name"] = name;
  }
  return {json};
}

Clause ClauseWriter::Joined(std::vector<Clause> parts, bool all) const {
  const bool never =
      all ? std::any_of(parts.begin(), parts.end(), [](const Clause& part) { return part.never; })
          : std::all_of(parts.begin(), parts.end(), [](const Clause& part) { return part.never; });
  if (never) return {Json(), true};
  // Each once: ConfigSpace takes equal parts of a conjunction for one, and then reads others wrongly.
  Json list = Json::array();
  for (Clause& part : parts) {
    if (!part.never && std::find(list.begin(), list.end(), part.json) == list.end())
      list.push_back(std::move(part.json));
  }
  if (list.size() == 1) return {list[0]};
  Json json = {{"type", all ? "AND" : "OR"}};
  if (is_condition()) json["child"] = child_;
  json[is_condition() ? "conditions" : "clauses"] = std::move(list);
  return {json};
}

const Comparison* ClauseWriter::NotEqualOrInactive(const Node& node) const {
  if (!is_condition() || node.children.size() != 2) return nullptr;
  const Comparison& first = node.children[0]->comparison;
  const Comparison& second = node.children[1]->comparison;
  const bool fits = node.children[0]->kind == Node::Kind::kCompare &&
                    node.children[1]->kind == Node::Kind::kCompare && first.op == Op::kInactive &&
                    second.op == Op::kNotEqual && first.parameter == second.parameter &&
                    !second.literals.front().is_parameter;
  return fits ? &second : nullptr;
}

absl::StatusOr<Clause> ClauseWriter::Write(const Node& node, bool negated) const {
  switch (node.kind) {
    case Node::Kind::kCompare:
      return Compared(node.comparison, negated);
    case Node::Kind::kNot:
      return Write(*node.children[0], !negated);
    case Node::Kind::kAnd:
    case Node::Kind::kOr:
      break;
  }
  const bool all = (node.kind == Node::Kind::kAnd) != negated;
  if (!all && !negated) {
    if (const Comparison* comparison = NotEqualOrInactive(node)) {
      const Parameter& parent = *space_.Find(comparison->parameter);
      for (const Value& choice : parent.choices) {
        if (Matches(choice, comparison->literals.front()))
          return One(parent.name, Op::kNotEqual, ToJson(choice));
      }
      const double number = *comparison->literals.front().number;
      const bool integer = parent.kind == ParameterKind::kInt && number == std::round(number);
      if (number >= parent.low && number <= parent.high &&
          (integer || parent.kind == ParameterKind::kFloat)) {
        return One(parent.name, Op::kNotEqual, integer ? Json(static_cast<int64_t>(number)) : Json(number));
      }
    }
  }
  std::vector<Clause> parts;
  for (const auto& child : node.children) {
    RUNG_ASSIGN_OR_RETURN(Clause part, Write(*child, negated));
    parts.push_back(std::move(part));
  }
  return Joined(std::move(parts), all);
}

absl::StatusOr<Clause> ClauseWriter::Compared(Comparison comparison, bool negated) const {
  const Parameter& parameter = *space_.Find(comparison.parameter);
  if (comparison.op != Op::kIn && negated) comparison.op = Opposite(comparison.op);
  const bool exclude = comparison.op == Op::kIn && negated;
  if (!comparison.literals.empty() && comparison.literals.front().is_parameter) {
    return Relation(comparison, comparison.op);
  }
  if (comparison.op == Op::kInactive) {
    // No value of a choice is equal to an inactive one.
    if (!is_condition() || parameter.choices.empty()) {
      return Unwritable("\"" + parameter.name + " is inactive\" there", where_,
                        "Say it by the conditions of " + parameter.name);
    }
    std::vector<Clause> parts;
    for (const Value& choice : parameter.choices)
      parts.push_back(One(parameter.name, Op::kNotEqual, ToJson(choice)));
    return Joined(std::move(parts), true);
  }
  if (!parameter.choices.empty() || parameter.step.has_value()) {
    Parameter listed = parameter;
    if (parameter.step.has_value()) {
      for (int64_t i = 0; i < *parameter.Cardinality(); ++i)
        listed.choices.push_back(parameter.FromUnit((static_cast<double>(i) + 0.5) /
                                                    static_cast<double>(*parameter.Cardinality())));
    }
    return AmongChoices(listed, comparison, exclude);
  }
  if (comparison.op == Op::kActive) return InRange(parameter, Op::kLessEqual, parameter.high);
  std::vector<Clause> parts;
  for (const Condition::Literal& literal : comparison.literals) {
    const Op op = comparison.op == Op::kIn ? (exclude ? Op::kNotEqual : Op::kEqual) : comparison.op;
    parts.push_back(InRange(parameter, op, *literal.number));
  }
  return Joined(std::move(parts), exclude);
}

absl::StatusOr<Clause> ClauseWriter::Relation(const Comparison& comparison, Op op) const {
  if (is_condition()) return Unwritable("a relation between parameters in a condition", where_, "Forbid it");
  const char* type = op == Op::kEqual          ? "RELATION_EQ"
                     : op == Op::kLess         ? "RELATION_LT"
                     : op == Op::kLessEqual    ? "RELATION_LE"
                     : op == Op::kGreater      ? "RELATION_GT"
                     : op == Op::kGreaterEqual ? "RELATION_GE"
                                               : nullptr;
  const std::string& left = comparison.parameter;
  const std::string& right = comparison.literals.front().text;
  if (type != nullptr) return Clause{{{"type", type}, {"left", left}, {"right", right}}};
  return Joined({{{{"type", "RELATION_LT"}, {"left", left}, {"right", right}}},
                 {{{"type", "RELATION_GT"}, {"left", left}, {"right", right}}}},
                false);
}

Clause ClauseWriter::AmongChoices(const Parameter& parameter, const Comparison& comparison,
                                  bool negated) const {
  Json values = Json::array();
  for (const Value& choice : parameter.choices) {
    if (Matches(choice, comparison) != negated) values.push_back(ToJson(choice));
  }
  if (values.empty()) return {Json(), true};
  if (values.size() == 1) return One(parameter.name, Op::kEqual, values[0]);
  return One(parameter.name, Op::kIn, values);
}

// Values outside the range are illegal in ConfigSpace's clauses, and so are fractions for integers.
Clause ClauseWriter::InRange(const Parameter& parameter, Op op, double number) const {
  const bool integer = parameter.kind == ParameterKind::kInt;
  const auto one = [&](Op o, double value) {
    return One(parameter.name, o, integer ? Json(static_cast<int64_t>(value)) : Json(value));
  };
  const bool whole = !integer || number == std::round(number);
  const bool inside = number >= parameter.low && number <= parameter.high;
  const auto up_to = [&](double top, bool closed) -> Clause {
    if (top < parameter.low || (top == parameter.low && !closed)) return {Json(), true};
    if (top > parameter.high)
      return Joined({one(Op::kLess, parameter.high), one(Op::kEqual, parameter.high)}, false);
    if (!closed) return one(Op::kLess, top);
    return Joined({one(Op::kLess, top), one(Op::kEqual, top)}, false);
  };
  const auto from = [&](double bottom, bool closed) -> Clause {
    if (bottom > parameter.high || (bottom == parameter.high && !closed)) return {Json(), true};
    if (bottom < parameter.low)
      return Joined({one(Op::kGreater, parameter.low), one(Op::kEqual, parameter.low)}, false);
    if (!closed) return one(Op::kGreater, bottom);
    return Joined({one(Op::kGreater, bottom), one(Op::kEqual, bottom)}, false);
  };
  switch (op) {
    case Op::kLess:
      return whole ? up_to(number, false) : up_to(std::floor(number), true);
    case Op::kLessEqual:
      return up_to(whole ? number : std::floor(number), true);
    case Op::kGreater:
      return whole ? from(number, false) : from(std::ceil(number), true);
    case Op::kGreaterEqual:
      return from(whole ? number : std::ceil(number), true);
    case Op::kEqual:
      return whole && inside ? one(Op::kEqual, number) : Clause{Json(), true};
    case Op::kNotEqual:
      if (!whole || !inside) return up_to(parameter.high, true);
      return Joined({InRange(parameter, Op::kLess, number), InRange(parameter, Op::kGreater, number)}, false);
    case Op::kIn:
    case Op::kActive:
    case Op::kInactive:
      break;
  }
  return {Json(), true};
}

absl::StatusOr<Json> RangeJson(const Parameter& parameter) {
  const std::string suffix = parameter.kind == ParameterKind::kInt ? "_int" : "_float";
  Json json = {{"type", "uniform" + suffix}, {"log", parameter.log}};
  const auto number = [&](double value) {
    return parameter.kind == ParameterKind::kInt ? Json(static_cast<int64_t>(value)) : Json(value);
  };
  json["lower"] = number(parameter.low);
  json["upper"] = number(parameter.high);
  const std::string where = "#/" + PointerToken(parameter.name) + "/prior";
  if (parameter.lognormal_prior.has_value()) {
    return Unwritable("a log-normal prior of a linear scale", where, "Set log, and a normal prior");
  }
  if (parameter.beta_prior.has_value()) {
    json["type"] = "beta" + suffix;
    json["alpha"] = parameter.beta_prior->first;
    json["beta"] = parameter.beta_prior->second;
  }
  if (!parameter.normal_prior.has_value()) return json;
  const auto [mean, sd] = *parameter.normal_prior;
  json["type"] = "normal" + suffix;
  json["mu"] = parameter.log ? std::exp(mean) : mean;
  // Its sigma becomes |ln(lower + sigma)| on the logarithmic scale.
  const double sigma = parameter.log ? std::exp(sd) - parameter.low : sd;
  if (!(sigma > 0)) return Unwritable("so narrow a prior of a logarithmic scale", where, "Use a larger sd");
  json["sigma"] = sigma;
  return json;
}

absl::StatusOr<Json> ParameterJson(const Parameter& parameter) {
  Json json;
  Json values = Json::array();
  for (const Value& choice : parameter.choices) values.push_back(ToJson(choice));
  switch (parameter.kind) {
    case ParameterKind::kConstant:
      return Json{{"type", "constant"}, {"name", parameter.name}, {"value", values[0]}, {"meta", nullptr}};
    case ParameterKind::kCategorical:
      json = {{"type", "categorical"}, {"choices", values}, {"weights", nullptr}};
      if (!parameter.weights.empty()) json["weights"] = parameter.weights;
      break;
    case ParameterKind::kOrdinal:
      if (!parameter.weights.empty()) {
        return Unwritable("weights of ordered values", "#/" + PointerToken(parameter.name) + "/prior",
                          "Use values instead of ordinal");
      }
      json = {{"type", "ordinal"}, {"sequence", values}};
      break;
    case ParameterKind::kFloat:
    case ParameterKind::kInt:
      if (!parameter.step.has_value()) {
        RUNG_ASSIGN_OR_RETURN(json, RangeJson(parameter));
        break;
      }
      if (*parameter.Cardinality() > kMaxSteps) {
        return Unwritable(absl::StrFormat("more than %d steps", kMaxSteps),
                          "#/" + PointerToken(parameter.name) + "/step", "Use a larger step");
      }
      for (int64_t i = 0; i < *parameter.Cardinality(); ++i) {
        values.push_back(ToJson(parameter.FromUnit((static_cast<double>(i) + 0.5) /
                                                   static_cast<double>(*parameter.Cardinality()))));
      }
      json = {{"type", "ordinal"}, {"sequence", values}};
      break;
  }
  json["name"] = parameter.name;
  json["default_value"] = ToJson(parameter.default_value);
  json["meta"] = nullptr;
  return json;
}

// For a condition of the parameter that never holds, for which ConfigSpace has no word: a parent that is and
// is not its default.
Json NeverActive(const Space& space, const Parameter& parameter) {
  const Parameter& parent = *space.Find(*parameter.condition->parameters().begin());
  Json parts = Json::array();
  for (const char* type : {"EQ", "NEQ"}) {
    parts.push_back({{"type", type},
                     {"child", parameter.name},
                     {"parent", parent.name},
                     {"value", ToJson(parent.default_value)}});
  }
  return {{"type", "AND"}, {"child", parameter.name}, {"conditions", parts}};
}

}  // namespace

absl::StatusOr<Json> ToConfigSpace(const Space& space) {
  Json json = {{"name", nullptr},
               {"hyperparameters", Json::array()},
               {"conditions", Json::array()},
               {"forbiddens", Json::array()},
               {"python_module_version", "1.2.0"},
               {"format_version", 0.4}};
  for (const Parameter& parameter : space.parameters()) {
    RUNG_ASSIGN_OR_RETURN(Json written, ParameterJson(parameter));
    json["hyperparameters"].push_back(std::move(written));
    if (!parameter.condition.has_value()) continue;
    const std::string where = "#/" + PointerToken(parameter.name) + "/if";
    RUNG_ASSIGN_OR_RETURN(
        Clause clause, ClauseWriter(space, parameter.name, where).Write(parameter.condition->root(), false));
    if (clause.never) clause.json = NeverActive(space, parameter);
    json["conditions"].push_back(std::move(clause.json));
  }
  for (size_t i = 0; i < space.forbidden().size(); ++i) {
    RUNG_ASSIGN_OR_RETURN(Clause clause, ClauseWriter(space, "", absl::StrFormat("#/forbidden/%d", i))
                                             .Write(space.forbidden()[i].root(), false));
    if (!clause.never) json["forbiddens"].push_back(std::move(clause.json));
  }
  return json;
}

}  // namespace rung
