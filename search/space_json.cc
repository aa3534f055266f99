// The space's JSON: reading with errors that name the place, and writing.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "search/json_position.h"
#include "search/json_reader.h"
#include "search/space.h"

namespace rung {
namespace {

constexpr double kMaxInteger = 9007199254740992.0;  // 2^53: exact as a double
constexpr size_t kMaxNameBytes = 128;

absl::Status SpaceError(const char* code, const std::string& message, const std::string& where,
                        const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {code, message, where, value, mend});
}

absl::StatusOr<Value> ReadValue(const nlohmann::json& json, const std::string& path,
                                const std::string& pointer) {
  absl::StatusOr<Config> config = ConfigFromJson({{"value", json}});
  if (config.ok()) return config->at("value");
  return SpaceError("E0206", absl::StrFormat("%s = %s is no value", path, Shown(json)), "#" + pointer,
                    Shown(json), "Write a string, a number, true or false");
}

// 0: string, 1: number, 2: boolean.
int TypeClass(const Value& value) {
  if (std::holds_alternative<std::string>(value)) return 0;
  return std::holds_alternative<bool>(value) ? 2 : 1;
}

}  // namespace

class SpaceParser {
 public:
  static absl::StatusOr<Space> Run(const nlohmann::json& json);

 private:
  using Status = absl::Status;

  Status ReadParameter(const std::string& name, const nlohmann::json& json);
  Status ReadObject(Parameter& parameter, const nlohmann::json& json);
  Status ReadChoices(Parameter& parameter, const nlohmann::json& json, const std::string& path,
                     const std::string& pointer);
  Status ReadFloat(Parameter& parameter, const JsonReader& reader);
  Status ReadInt(Parameter& parameter, const JsonReader& reader);
  Status ReadStep(Parameter& parameter, const JsonReader& reader);
  Status ReadDefault(Parameter& parameter, const JsonReader& reader);
  Status ReadPrior(Parameter& parameter, const JsonReader& reader);
  Status ReadForbidden(const nlohmann::json& json);
  Status ResolveConditions();
  Status Order();
  Status CheckDefault() const;
  absl::StatusOr<Condition> Resolved(const Condition& condition, const std::string& where) const;
  absl::StatusOr<Condition::Comparison> ResolvedComparison(Condition::Comparison comparison,
                                                           const std::string& condition,
                                                           const std::string& where) const;

  Space space_;
};

namespace {

Value NaturalDefault(const Parameter& parameter) {
  if (parameter.kind == ParameterKind::kOrdinal) return parameter.choices[(parameter.choices.size() - 1) / 2];
  if (!parameter.choices.empty()) return parameter.choices.front();
  if (parameter.log) {
    const double centre = std::exp((std::log(parameter.low) + std::log(parameter.high)) / 2);
    if (parameter.kind == ParameterKind::kFloat) return std::clamp(centre, parameter.low, parameter.high);
    return static_cast<int64_t>(std::clamp(std::round(centre), parameter.low, parameter.high));
  }
  return parameter.FromUnit(0.5);
}

}  // namespace

absl::StatusOr<Space> Space::Parse(const nlohmann::json& json) {
  return SpaceParser::Run(json);
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
    RUNG_RETURN_IF_ERROR(parser.ReadParameter(name, value));
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
  RUNG_RETURN_IF_ERROR(parser.CheckDefault());
  return std::move(parser.space_);
}

absl::Status SpaceParser::ReadParameter(const std::string& name, const nlohmann::json& json) {
  const std::string pointer = "/" + PointerToken(name);
  if (name.empty() || name.size() > kMaxNameBytes) {
    return SpaceError("E0209", absl::StrFormat("a parameter's name has 1 to %d bytes", kMaxNameBytes),
                      "#key:" + pointer, name, "Rename it");
  }
  Parameter parameter;
  parameter.name = name;
  if (json.is_array()) {
    parameter.kind = ParameterKind::kCategorical;
    RUNG_RETURN_IF_ERROR(ReadChoices(parameter, json, "space." + name, pointer));
    parameter.default_value = NaturalDefault(parameter);
  } else if (json.is_object()) {
    RUNG_RETURN_IF_ERROR(ReadObject(parameter, json));
  } else {
    RUNG_ASSIGN_OR_RETURN(const Value value, ReadValue(json, "space." + name, pointer));
    parameter.choices = {value};
    parameter.default_value = value;
  }
  space_.parameters_.push_back(std::move(parameter));
  return absl::OkStatus();
}

absl::Status SpaceParser::ReadObject(Parameter& parameter, const nlohmann::json& json) {
  const std::string path = "space." + parameter.name;
  const std::string pointer = "/" + PointerToken(parameter.name);
  RUNG_ASSIGN_OR_RETURN(const JsonReader reader, JsonReader::Open(json, path, pointer, kSpaceCodes));
  RUNG_RETURN_IF_ERROR(reader.OnlyKeys(
      {"values", "ordinal", "low", "high", "int", "value", "default", "if", "log", "step", "prior"}));
  const bool is_float = reader.Find("low") != nullptr || reader.Find("high") != nullptr;
  std::vector<std::string> kinds;
  for (const char* kind : {"values", "ordinal", "int", "value"}) {
    if (reader.Find(kind) != nullptr) kinds.push_back(kind);
  }
  if (kinds.size() + (is_float ? 1 : 0) != 1) {
    return SpaceError(
        "E0210", absl::StrFormat("%s must say one of values, ordinal, low and high, int, value", path),
        "#" + pointer, Shown(json), "Write for example {\"low\": 1e-5, \"high\": 1e-3, \"log\": true}");
  }
  RUNG_ASSIGN_OR_RETURN(const std::optional<bool> log, reader.Bool("log"));
  parameter.log = log.value_or(false);
  const std::string kind = is_float ? "low" : kinds.front();
  if (is_float) {
    RUNG_RETURN_IF_ERROR(ReadFloat(parameter, reader));
  } else if (kind == "int") {
    RUNG_RETURN_IF_ERROR(ReadInt(parameter, reader));
  } else if (kind == "value") {
    RUNG_ASSIGN_OR_RETURN(const Value value,
                          ReadValue(json.at("value"), path + ".value", pointer + "/value"));
    parameter.choices = {value};
  } else {
    parameter.kind = kind == "values" ? ParameterKind::kCategorical : ParameterKind::kOrdinal;
    RUNG_RETURN_IF_ERROR(ReadChoices(parameter, json.at(kind), path + "." + kind, pointer + "/" + kind));
  }
  RUNG_RETURN_IF_ERROR(ReadStep(parameter, reader));
  if (!parameter.choices.empty() && log.has_value()) {
    return reader.Impossible("log", "fits ranges only", "Leave it out");
  }
  RUNG_RETURN_IF_ERROR(ReadDefault(parameter, reader));
  RUNG_RETURN_IF_ERROR(ReadPrior(parameter, reader));
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> condition, reader.String("if"));
  if (condition.has_value()) {
    absl::StatusOr<Condition> parsed = Condition::Parse(*condition);
    if (!parsed.ok()) return WithPointerPrefix(parsed.status(), pointer + "/if");
    parameter.condition = *std::move(parsed);
  }
  return absl::OkStatus();
}

absl::Status SpaceParser::ReadChoices(Parameter& parameter, const nlohmann::json& json,
                                      const std::string& path, const std::string& pointer) {
  if (!json.is_array() || json.empty()) {
    return SpaceError("E0206", absl::StrFormat("%s = %s must be a list of values", path, Shown(json)),
                      "#" + pointer, Shown(json), "Write [first, second, ...]");
  }
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string place = pointer + "/" + std::to_string(i);
    RUNG_ASSIGN_OR_RETURN(const Value value, ReadValue(json[i], absl::StrFormat("%s[%d]", path, i), place));
    if (!parameter.choices.empty() && TypeClass(parameter.choices.front()) != TypeClass(value)) {
      return SpaceError("E0206",
                        absl::StrFormat("%s mixes types: %s beside %s", path, Shown(json[i]), Shown(json[0])),
                        "#" + place, Shown(json[i]), "Use strings only, numbers only or booleans only");
    }
    if (parameter.ChoiceIndex(value).has_value()) {
      return SpaceError("E0206", absl::StrFormat("%s has %s twice", path, Shown(json[i])), "#" + place,
                        Shown(json[i]), "Keep one of them");
    }
    parameter.choices.push_back(value);
  }
  return absl::OkStatus();
}

absl::Status SpaceParser::ReadFloat(Parameter& parameter, const JsonReader& reader) {
  parameter.kind = ParameterKind::kFloat;
  RUNG_RETURN_IF_ERROR(reader.Required("low", "\"low\": a number").status());
  RUNG_RETURN_IF_ERROR(reader.Required("high", "\"high\": a number").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> low, reader.Number("low"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> high, reader.Number("high"));
  parameter.low = *low;
  parameter.high = *high;
  if (!(parameter.low < parameter.high) || !std::isfinite(parameter.high - parameter.low)) {
    const bool equal = parameter.low == parameter.high;
    return SpaceError(
        "E0204",
        absl::StrFormat("%s = %s %s high = %s", reader.PathOf("low"), Shown(*reader.Find("low")),
                        equal ? "equals" : "is not below", Shown(*reader.Find("high"))),
        "#" + reader.PointerOf("low"), Shown(*reader.Find("low")),
        equal ? "Write the number alone for a constant" : "Swap them");
  }
  if (parameter.log && parameter.low <= 0) {
    return SpaceError("E0211",
                      absl::StrFormat("%s = %s is not allowed with log = true", reader.PathOf("low"),
                                      Shown(*reader.Find("low"))),
                      "#" + reader.PointerOf("low"), Shown(*reader.Find("low")),
                      parameter.high > 1e-5 ? "Use low: 1e-5" : "Use a low above 0");
  }
  return absl::OkStatus();
}

absl::Status SpaceParser::ReadInt(Parameter& parameter, const JsonReader& reader) {
  parameter.kind = ParameterKind::kInt;
  const nlohmann::json& range = *reader.Find("int");
  const bool pair =
      range.is_array() && range.size() == 2 && range[0].is_number_integer() && range[1].is_number_integer();
  if (!pair) return reader.WrongType("int", "two integers [low, high]");
  parameter.low = range[0].get<double>();
  parameter.high = range[1].get<double>();
  if (std::abs(parameter.low) > kMaxInteger || std::abs(parameter.high) > kMaxInteger) {
    return reader.Impossible("int", "is too wide", "Stay within 2^53");
  }
  if (!(parameter.low < parameter.high)) {
    const bool equal = parameter.low == parameter.high;
    return SpaceError("E0204",
                      absl::StrFormat("%s = %s: low %s high", reader.PathOf("int"), Shown(range),
                                      equal ? "equals" : "is above"),
                      "#" + reader.PointerOf("int"), Shown(range),
                      equal ? "Write the number alone for a constant" : "Swap them");
  }
  if (parameter.log && parameter.low < 1) {
    return SpaceError("E0211",
                      absl::StrFormat("%s = %s: low %s is not allowed with log = true", reader.PathOf("int"),
                                      Shown(range), Shown(range[0])),
                      "#" + reader.PointerOf("int"), Shown(range), "Use a low of 1 or more");
  }
  return absl::OkStatus();
}

absl::Status SpaceParser::ReadStep(Parameter& parameter, const JsonReader& reader) {
  RUNG_ASSIGN_OR_RETURN(parameter.step, reader.Number("step"));
  if (!parameter.step.has_value()) return absl::OkStatus();
  if (!parameter.choices.empty()) return reader.Impossible("step", "fits ranges only", "Leave it out");
  if (parameter.log) return reader.Impossible("step", "does not go with log = true", "Leave one of them out");
  if (!(*parameter.step > 0) || *parameter.step > parameter.high - parameter.low) {
    return reader.Impossible("step", "must be above 0 and at most high - low", "Use a smaller positive step");
  }
  if (parameter.kind == ParameterKind::kInt && *parameter.step != std::round(*parameter.step)) {
    return reader.WrongType("step", "an integer");
  }
  if ((parameter.high - parameter.low) / *parameter.step > kMaxInteger) {
    return reader.Impossible("step", "is too small for the range", "Use a larger step");
  }
  return absl::OkStatus();
}

absl::Status SpaceParser::ReadDefault(Parameter& parameter, const JsonReader& reader) {
  parameter.default_value = NaturalDefault(parameter);
  const nlohmann::json* json = reader.Find("default");
  if (json == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const Value value,
                        ReadValue(*json, reader.PathOf("default"), reader.PointerOf("default")));
  // A space of this parameter alone knows types, ranges and the mend.
  Space alone;
  alone.parameters_.push_back(parameter);
  alone.parameters_.back().condition.reset();
  const Config config = alone.Typed({{parameter.name, value}});
  if (const absl::Status status = alone.Validate(config); !status.ok()) {
    return SpaceError(
        "E0212", absl::StrFormat("%s = %s is outside the parameter", reader.PathOf("default"), Shown(*json)),
        "#" + reader.PointerOf("default"), Shown(*json), GetErrorDetail(status)->mend);
  }
  parameter.default_value = config.at(parameter.name);
  return absl::OkStatus();
}

absl::Status SpaceParser::ReadPrior(Parameter& parameter, const JsonReader& reader) {
  const nlohmann::json* json = reader.Find("prior");
  if (json == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const JsonReader prior, JsonReader::Open(*json, reader.PathOf("prior"),
                                                                 reader.PointerOf("prior"), kSpaceCodes));
  RUNG_RETURN_IF_ERROR(prior.OnlyKeys({parameter.choices.empty() ? "normal" : "weights"}));
  const std::string key = parameter.choices.empty() ? "normal" : "weights";
  RUNG_ASSIGN_OR_RETURN(
      const nlohmann::json* list,
      prior.Required(key, key == "normal" ? "\"normal\": [mean, sd]" : "\"weights\": [...]"));
  const size_t expected = key == "normal" ? 2 : parameter.choices.size();
  const bool numbers =
      list->is_array() && list->size() == expected &&
      std::all_of(list->begin(), list->end(), [](const nlohmann::json& n) { return n.is_number(); });
  if (!numbers) return prior.WrongType(key, absl::StrFormat("a list of %d numbers", expected));
  const std::vector<double> values = list->get<std::vector<double>>();
  if (key == "normal") {
    if (!(values[1] > 0)) return prior.Impossible(key, "needs an sd above 0", "Write [mean, sd]");
    parameter.normal_prior = {values[0], values[1]};
    return absl::OkStatus();
  }
  const bool positive = std::all_of(values.begin(), values.end(), [](double w) { return w >= 0; }) &&
                        std::any_of(values.begin(), values.end(), [](double w) { return w > 0; });
  if (!positive)
    return prior.Impossible(key, "must not be negative, and not all 0", "Use weights like [3, 1, 1]");
  parameter.weights = values;
  return absl::OkStatus();
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
    return ResolvedComparison(std::move(comparison), condition.text(), where);
  });
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
    return SpaceError(
        "E0221",
        absl::StrFormat("condition \"%s\": the space has no parameter %s", condition, comparison.parameter),
        where, comparison.parameter,
        closest.empty() ? "Name a parameter of the space" : "Did you mean " + closest);
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
                      absl::StrFormat("condition \"%s\": %s is no value of %s", condition, literal.text,
                                      comparison.parameter),
                      where, literal.text,
                      range             ? "Write a number"
                      : closest.empty() ? "Use one of: " + absl::StrJoin(texts, ", ")
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
                        "#/" + PointerToken(names.front()) + "/if", left.begin()->second.condition->text(),
                        "Remove one of these conditions");
    }
    placed.insert(ready->first);
    space_.parameters_.push_back(std::move(ready->second));
    left.erase(ready);
  }
  return absl::OkStatus();
}

absl::Status SpaceParser::CheckDefault() const {
  const Config config = space_.Default();
  for (size_t i = 0; i < space_.forbidden_.size(); ++i) {
    if (!space_.forbidden_[i].Holds(config)) continue;
    return SpaceError("E0224",
                      absl::StrFormat("space.forbidden[%d] \"%s\" forbids the default config", i,
                                      space_.forbidden_[i].text()),
                      "#/forbidden/" + std::to_string(i), CanonicalJson(config),
                      "Give one of its parameters another \"default\"");
  }
  return absl::OkStatus();
}

namespace {

nlohmann::json ParameterJson(const Parameter& parameter) {
  nlohmann::json json = nlohmann::json::object();
  nlohmann::json choices = nlohmann::json::array();
  for (const Value& choice : parameter.choices) choices.push_back(rung::ToJson(choice));
  switch (parameter.kind) {
    case ParameterKind::kFloat:
      json["low"] = parameter.low;
      json["high"] = parameter.high;
      break;
    case ParameterKind::kInt:
      json["int"] = {static_cast<int64_t>(parameter.low), static_cast<int64_t>(parameter.high)};
      break;
    case ParameterKind::kCategorical:
      json["values"] = choices;
      break;
    case ParameterKind::kOrdinal:
      json["ordinal"] = choices;
      break;
    case ParameterKind::kConstant:
      json["value"] = choices[0];
      break;
  }
  if (parameter.log) json["log"] = true;
  if (parameter.step.has_value()) json["step"] = *parameter.step;
  if (parameter.kind != ParameterKind::kConstant) json["default"] = ToJson(parameter.default_value);
  if (parameter.condition.has_value()) json["if"] = parameter.condition->text();
  if (parameter.normal_prior.has_value()) {
    json["prior"] = {{"normal", {parameter.normal_prior->first, parameter.normal_prior->second}}};
  }
  if (!parameter.weights.empty()) json["prior"] = {{"weights", parameter.weights}};
  return json;
}

}  // namespace

nlohmann::json Space::ToJson() const {
  nlohmann::json json = nlohmann::json::object();
  for (const Parameter& parameter : parameters_) json[parameter.name] = ParameterJson(parameter);
  if (!forbidden_.empty()) {
    json["forbidden"] = nlohmann::json::array();
    for (const Condition& clause : forbidden_) json["forbidden"].push_back(clause.text());
  }
  return json;
}

}  // namespace rung
