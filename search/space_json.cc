// The space's JSON: reading with errors that name the place, and writing.
#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "search/configspace.h"
#include "search/json_position.h"
#include "search/json_reader.h"
#include "search/space.h"

namespace rung {
namespace {

absl::Status SpaceError(const char* code, const std::string& message, const std::string& where,
                        const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {code, message, where, value, mend});
}

// 0: string, 1: number, 2: boolean.
int TypeClass(const Value& value) {
  if (std::holds_alternative<std::string>(value)) return 0;
  return std::holds_alternative<bool>(value) ? 2 : 1;
}

bool Numeric(const Parameter& parameter) {
  return parameter.choices.empty() || TypeClass(parameter.choices.front()) == 1;
}

}  // namespace

class SpaceParser {
 public:
  static absl::StatusOr<Space> Run(const nlohmann::json& json);

 private:
  using Status = absl::Status;

  Status ReadForbidden(const nlohmann::json& json);
  Status ResolveConditions();
  Status Order();
  Status CheckLegal() const;
  const Parameter* OtherParameter(const Parameter& parameter, const Condition::Comparison& comparison) const;
  absl::StatusOr<Condition> Resolved(const Condition& condition, const std::string& where) const;
  absl::StatusOr<Condition::Comparison> ResolvedComparison(Condition::Comparison comparison,
                                                           const std::string& condition,
                                                           const std::string& where) const;

  Space space_;
};

absl::StatusOr<Space> Space::Parse(const nlohmann::json& json) {
  if (!IsConfigSpace(json)) return SpaceParser::Run(json);
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json own, FromConfigSpace(json));
  const absl::StatusOr<Space> space = SpaceParser::Run(own);
  if (space.ok()) return space;
  return WhereInConfigSpace(space.status(), json);
}

absl::StatusOr<Space> SpaceParser::Run(const nlohmann::json& json) {
  if (!json.is_object()) {
    return SpaceError("E0201", "space must be an object, not " + Shown(json), "#", Shown(json),
                      "Write {\"PARAMETER\": ..., ...}");
  }
  SpaceParser parser;
  for (const auto& [name, value] : json.items()) {
    if (name == "forbidden") continue;
    if (name == "constraints") {
      return SpaceError("E0213", "space.constraints is reserved and not known yet", "#key:/constraints", name,
                        "Leave it out, or use forbidden");
    }
    RUNG_ASSIGN_OR_RETURN(Parameter parameter, Parameter::Parse(name, value));
    parser.space_.parameters_.push_back(std::move(parameter));
  }
  if (parser.space_.parameters_.empty()) {
    return SpaceError("E0201", "the space has no parameter", "#", Shown(json), "Add at least one parameter");
  }
  if (parser.space_.parameters_.size() > Space::kMaxParameters) {
    return SpaceError("E0208",
                      absl::StrFormat("the space has %d parameters; %d are allowed",
                                      parser.space_.parameters_.size(), Space::kMaxParameters),
                      "#", "", "Search over fewer");
  }
  RUNG_RETURN_IF_ERROR(parser.ResolveConditions());
  RUNG_RETURN_IF_ERROR(parser.Order());
  if (const auto forbidden = json.find("forbidden"); forbidden != json.end()) {
    RUNG_RETURN_IF_ERROR(parser.ReadForbidden(*forbidden));
  }
  RUNG_RETURN_IF_ERROR(parser.CheckLegal());
  return std::move(parser.space_);
}

absl::Status SpaceParser::ReadForbidden(const nlohmann::json& json) {
  if (!json.is_array()) {
    return SpaceError("E0206", "space.forbidden must be a list of conditions, not " + Shown(json),
                      "#/forbidden", Shown(json), "Write [\"a = 1 and b = 2\"]");
  }
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string pointer = "/forbidden/" + std::to_string(i);
    if (!json[i].is_string()) {
      return SpaceError("E0206",
                        absl::StrFormat("space.forbidden[%d] = %s must be a string", i, Shown(json[i])),
                        "#" + pointer, Shown(json[i]), "Write \"a = 1 and b = 2\"");
    }
    absl::StatusOr<Condition> clause = Condition::Parse(json[i].get<std::string>());
    if (!clause.ok()) return WithPointerPrefix(clause.status(), pointer);
    RUNG_ASSIGN_OR_RETURN(Condition resolved, Resolved(*clause, "#" + pointer));
    space_.forbidden_.push_back(std::move(resolved));
  }
  return absl::OkStatus();
}

absl::Status SpaceParser::ResolveConditions() {
  for (Parameter& parameter : space_.parameters_) {
    if (!parameter.condition.has_value()) continue;
    const std::string where = "#/" + PointerToken(parameter.name) + "/if";
    RUNG_ASSIGN_OR_RETURN(parameter.condition, Resolved(*parameter.condition, where));
  }
  return absl::OkStatus();
}

absl::StatusOr<Condition> SpaceParser::Resolved(const Condition& condition, const std::string& where) const {
  return condition.Mapped([&](Condition::Comparison comparison) {
    return ResolvedComparison(std::move(comparison), Shortened(condition.text()), where);
  });
}

// The parameter that a bare word on the right names, unless it is a value of the left one.
const Parameter* SpaceParser::OtherParameter(const Parameter& parameter,
                                             const Condition::Comparison& comparison) const {
  if (comparison.op == Condition::Comparison::Op::kIn) return nullptr;
  const Condition::Literal& literal = comparison.literals.front();
  if (literal.quoted || (parameter.choices.empty() && literal.number.has_value())) return nullptr;
  const bool is_value = std::any_of(parameter.choices.begin(), parameter.choices.end(),
                                    [&](const Value& choice) { return Matches(choice, literal); });
  return is_value ? nullptr : space_.Find(literal.text);
}

absl::StatusOr<Condition::Comparison> SpaceParser::ResolvedComparison(Condition::Comparison comparison,
                                                                      const std::string& condition,
                                                                      const std::string& where) const {
  using Op = Condition::Comparison::Op;
  const Parameter* parameter = space_.Find(comparison.parameter);
  if (parameter == nullptr) {
    std::vector<std::string> names;
    for (const Parameter& known : space_.parameters_) names.push_back(known.name);
    const std::string closest = ClosestName(comparison.parameter, names);
    return SpaceError("E0221",
                      absl::StrFormat("condition \"%s\": the space has no parameter %s", condition,
                                      Shortened(comparison.parameter)),
                      where, Shortened(comparison.parameter),
                      closest.empty() ? "Name a parameter of the space" : "Did you mean " + closest);
  }
  if (comparison.op == Op::kActive || comparison.op == Op::kInactive) return comparison;
  if (const Parameter* other = OtherParameter(*parameter, comparison)) {
    comparison.literals.front().is_parameter = true;
    const bool equality = comparison.op == Op::kEqual || comparison.op == Op::kNotEqual;
    const bool numbers = Numeric(*parameter) && Numeric(*other);
    if (numbers || (equality && Numeric(*parameter) == Numeric(*other))) return comparison;
    return SpaceError("E0222",
                      absl::StrFormat("condition \"%s\": %s cannot be compared with %s", condition,
                                      comparison.parameter, other->name),
                      where, other->name, "Compare numbers with numbers; = and != go with other values too");
  }
  const bool orders =
      comparison.op != Op::kEqual && comparison.op != Op::kNotEqual && comparison.op != Op::kIn;
  if (orders && parameter->kind == ParameterKind::kCategorical &&
      TypeClass(parameter->choices.front()) != 1) {
    return SpaceError("E0222",
                      absl::StrFormat("condition \"%s\": %s has no order", condition, comparison.parameter),
                      where, comparison.parameter, "Use = or in, or make it ordinal");
  }
  for (const Condition::Literal& literal : comparison.literals) {
    const bool range = parameter->choices.empty();
    const bool numeric_order = orders && !range && TypeClass(parameter->choices.front()) == 1;
    const bool fits = range || numeric_order
                          ? literal.number.has_value()
                          : std::any_of(parameter->choices.begin(), parameter->choices.end(),
                                        [&](const Value& choice) { return Matches(choice, literal); });
    if (fits) continue;
    std::vector<std::string> texts;
    for (const Value& choice : parameter->choices) texts.push_back(Text(choice));
    const std::string closest = ClosestName(literal.text, texts);
    return SpaceError("E0222",
                      absl::StrFormat("condition \"%s\": %s is no value of %s", condition,
                                      Shortened(literal.text), comparison.parameter),
                      where, Shortened(literal.text),
                      range             ? "Write a number"
                      : closest.empty() ? parameter->AllowedText()
                                        : "Did you mean " + closest);
  }
  if (parameter->kind == ParameterKind::kOrdinal) comparison.order = parameter->choices;
  return comparison;
}

absl::Status SpaceParser::Order() {
  std::map<std::string, Parameter> left;
  for (Parameter& parameter : space_.parameters_) left.emplace(parameter.name, std::move(parameter));
  space_.parameters_.clear();
  std::set<std::string> placed;
  while (!left.empty()) {
    const auto ready = std::find_if(left.begin(), left.end(), [&](const auto& entry) {
      if (!entry.second.condition.has_value()) return true;
      const std::set<std::string>& parents = entry.second.condition->parameters();
      return std::includes(placed.begin(), placed.end(), parents.begin(), parents.end());
    });
    if (ready == left.end()) {
      std::vector<std::string> names;
      for (const auto& [name, parameter] : left) names.push_back(name);
      return SpaceError("E0223", "the conditions of " + absl::StrJoin(names, ", ") + " depend on each other",
                        "#/" + PointerToken(names.front()) + "/if",
                        Shortened(left.begin()->second.condition->text()), "Remove one of these conditions");
    }
    placed.insert(ready->first);
    space_.parameters_.push_back(std::move(ready->second));
    left.erase(ready);
  }
  return absl::OkStatus();
}

// The forbidden clauses leave enough to draw from, and the default.
absl::Status SpaceParser::CheckLegal() const {
  if (space_.forbidden_.empty()) return absl::OkStatus();
  constexpr int kWanted = 20;
  constexpr int kMost = static_cast<int>(kWanted / Space::kMinLegalShare);
  Rng rng(0x6c6567616c, 1);  // any fixed stream: the same space is always judged alike
  Config example;
  int legal = 0, drawn = 0;
  for (; drawn < kMost && legal < kWanted; ++drawn) {
    Config config = space_.Completed({}, rng);
    if (space_.Forbidden(config)) continue;
    ++legal;
    example = std::move(config);
  }
  const Config defaults = space_.Default();
  if (legal < kWanted) {
    const bool none = legal == 0 && space_.Forbidden(defaults);
    return SpaceError("E0225",
                      none
                          ? absl::StrFormat("space.forbidden leaves nothing: none of %d random configs is "
                                            "allowed, nor is the default",
                                            drawn)
                          : absl::StrFormat("space.forbidden leaves too little to draw from: %d of %d random "
                                            "configs are allowed",
                                            legal, drawn),
                      "#/forbidden", "",
                      none ? "Remove a clause"
                           : "Narrow the ranges or use conditions, so that at least 1 in 1000 is allowed");
  }
  for (size_t i = 0; i < space_.forbidden_.size(); ++i) {
    if (!space_.forbidden_[i].Holds(defaults)) continue;
    return SpaceError(
        "E0224",
        absl::StrFormat("space.forbidden[%d] \"%s\" forbids the default config", i,
                        Shortened(space_.forbidden_[i].text())),
        "#/forbidden/" + std::to_string(i), CanonicalJson(defaults),
        "Give one of its parameters another \"default\"; allowed is for example " + CanonicalJson(example));
  }
  return absl::OkStatus();
}

nlohmann::json Space::ToJson() const {
  nlohmann::json json = nlohmann::json::object();
  for (const Parameter& parameter : parameters_) json[parameter.name] = parameter.ToJson();
  if (!forbidden_.empty()) {
    json["forbidden"] = nlohmann::json::array();
    for (const Condition& clause : forbidden_) json["forbidden"].push_back(clause.text());
  }
  return json;
}

}  // namespace rung
