// One parameter's JSON: reading with errors that name the place, and writing.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "search/json_position.h"
#include "search/json_reader.h"
#include "search/space.h"

namespace rung {
namespace {

constexpr double kMaxInteger = 9007199254740992.0;  // 2^53: exact as a double
constexpr size_t kMaxNameBytes = 128;
constexpr size_t kMaxChoices = 4096;  // each is compared with all before it

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

class ParameterReader {
 public:
  explicit ParameterReader(const std::string& name) { out_.name = name; }
  absl::StatusOr<Parameter> Run(const nlohmann::json& json);

 private:
  using Status = absl::Status;

  Status ReadObject(const nlohmann::json& json);
  Status ReadChoices(const nlohmann::json& json, const std::string& path, const std::string& pointer);
  Status ReadFloat(const JsonReader& reader);
  Status ReadInt(const JsonReader& reader);
  Status ReadStep(const JsonReader& reader);
  Status ReadDefault(const JsonReader& reader);
  Status ReadPrior(const JsonReader& reader);
  Status ReadRangePrior(const JsonReader& prior, const std::string& key, const std::vector<double>& values);
  Status ReadWeights(const JsonReader& prior, const std::vector<double>& values);

  Parameter out_;
};

absl::StatusOr<Parameter> ParameterReader::Run(const nlohmann::json& json) {
  const std::string pointer = "/" + PointerToken(out_.name);
  if (out_.name.empty() || out_.name.size() > kMaxNameBytes) {
    return SpaceError("E0209", absl::StrFormat("a parameter's name has 1 to %d bytes", kMaxNameBytes),
                      "#key:" + pointer, Shortened(out_.name), "Rename it");
  }
  if (json.is_array()) {
    out_.kind = ParameterKind::kCategorical;
    RUNG_RETURN_IF_ERROR(ReadChoices(json, "space." + out_.name, pointer));
    out_.default_value = NaturalDefault(out_);
  } else if (json.is_object()) {
    RUNG_RETURN_IF_ERROR(ReadObject(json));
  } else {
    RUNG_ASSIGN_OR_RETURN(const Value value, ReadValue(json, "space." + out_.name, pointer));
    out_.choices = {value};
    out_.default_value = value;
  }
  return std::move(out_);
}

absl::Status ParameterReader::ReadObject(const nlohmann::json& json) {
  const std::string path = "space." + out_.name;
  const std::string pointer = "/" + PointerToken(out_.name);
  RUNG_ASSIGN_OR_RETURN(const JsonReader reader, JsonReader::Open(json, path, pointer, kSpaceCodes));
  RUNG_RETURN_IF_ERROR(reader.OnlyKeys(
      {"values", "ordinal", "low", "high", "int", "value", "default", "if", "log", "step", "prior"},
      {{"min", "low"}, {"max", "high"}, {"lower", "low"}, {"upper", "high"}, {"choices", "values"}}));
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
  out_.log = log.value_or(false);
  const std::string kind = is_float ? "low" : kinds.front();
  if (is_float) {
    RUNG_RETURN_IF_ERROR(ReadFloat(reader));
  } else if (kind == "int") {
    RUNG_RETURN_IF_ERROR(ReadInt(reader));
  } else if (kind == "value") {
    RUNG_ASSIGN_OR_RETURN(const Value value,
                          ReadValue(json.at("value"), path + ".value", pointer + "/value"));
    out_.choices = {value};
  } else {
    out_.kind = kind == "values" ? ParameterKind::kCategorical : ParameterKind::kOrdinal;
    RUNG_RETURN_IF_ERROR(ReadChoices(json.at(kind), path + "." + kind, pointer + "/" + kind));
  }
  RUNG_RETURN_IF_ERROR(ReadStep(reader));
  if (!out_.choices.empty() && log.has_value()) {
    return reader.Impossible("log", "fits ranges only", "Leave it out");
  }
  RUNG_RETURN_IF_ERROR(ReadDefault(reader));
  RUNG_RETURN_IF_ERROR(ReadPrior(reader));
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> condition, reader.String("if"));
  if (condition.has_value()) {
    absl::StatusOr<Condition> parsed = Condition::Parse(*condition);
    if (!parsed.ok()) return WithPointerPrefix(parsed.status(), pointer + "/if");
    out_.condition = *std::move(parsed);
  }
  return absl::OkStatus();
}

absl::Status ParameterReader::ReadChoices(const nlohmann::json& json, const std::string& path,
                                          const std::string& pointer) {
  if (json.is_array() && json.empty()) {
    return SpaceError("E0206", path + " is an empty list", "#" + pointer, "[]",
                      "Write [first, second, ...], or a value alone for a constant");
  }
  if (!json.is_array()) {
    return SpaceError("E0206", absl::StrFormat("%s = %s must be a list of values", path, Shown(json)),
                      "#" + pointer, Shown(json), "Write [first, second, ...]");
  }
  if (json.size() > kMaxChoices) {
    return SpaceError("E0206", absl::StrFormat("%s has %d values", path, json.size()), "#" + pointer,
                      std::to_string(json.size()), absl::StrFormat("Give at most %d", kMaxChoices));
  }
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string place = pointer + "/" + std::to_string(i);
    RUNG_ASSIGN_OR_RETURN(const Value value, ReadValue(json[i], absl::StrFormat("%s[%d]", path, i), place));
    if (!out_.choices.empty() && TypeClass(out_.choices.front()) != TypeClass(value)) {
      return SpaceError("E0206",
                        absl::StrFormat("%s mixes types: %s beside %s", path, Shown(json[i]), Shown(json[0])),
                        "#" + place, Shown(json[i]), "Use strings only, numbers only or booleans only");
    }
    if (out_.ChoiceIndex(value).has_value()) {
      return SpaceError("E0206", absl::StrFormat("%s has %s twice", path, Shown(json[i])), "#" + place,
                        Shown(json[i]), "Keep one of them");
    }
    out_.choices.push_back(value);
  }
  return absl::OkStatus();
}

absl::Status ParameterReader::ReadFloat(const JsonReader& reader) {
  out_.kind = ParameterKind::kFloat;
  RUNG_RETURN_IF_ERROR(reader.Required("low", "\"low\": a number").status());
  RUNG_RETURN_IF_ERROR(reader.Required("high", "\"high\": a number").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> low, reader.Number("low"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> high, reader.Number("high"));
  out_.low = *low;
  out_.high = *high;
  if (!(out_.low < out_.high) || !std::isfinite(out_.high - out_.low)) {
    const bool equal = out_.low == out_.high;
    return SpaceError(
        "E0204",
        absl::StrFormat("%s = %s %s high = %s", reader.PathOf("low"), Shown(*reader.Find("low")),
                        equal                  ? "equals"
                        : out_.low < out_.high ? "is too far below"
                                               : "is not below",
                        Shown(*reader.Find("high"))),
        "#" + reader.PointerOf("low"), Shown(*reader.Find("low")),
        equal                  ? "Write the number alone for a constant"
        : out_.low < out_.high ? "Use a range that a double can span"
                               : "Swap them");
  }
  if (out_.log && out_.low <= 0) {
    return SpaceError("E0211",
                      absl::StrFormat("%s = %s is not allowed with log = true", reader.PathOf("low"),
                                      Shown(*reader.Find("low"))),
                      "#" + reader.PointerOf("low"), Shown(*reader.Find("low")),
                      out_.high > 1e-5 ? "Use low: 1e-5" : "Use a low above 0");
  }
  return absl::OkStatus();
}

absl::Status ParameterReader::ReadInt(const JsonReader& reader) {
  out_.kind = ParameterKind::kInt;
  const nlohmann::json& range = *reader.Find("int");
  const bool pair =
      range.is_array() && range.size() == 2 && range[0].is_number_integer() && range[1].is_number_integer();
  const bool numbers = range.is_array() && range.size() == 2 && range[0].is_number() && range[1].is_number();
  if (!pair && numbers) {
    const size_t end = range[0].is_number_integer() ? 1 : 0;
    return SpaceError("E0206",
                      absl::StrFormat("%s = %s: %s is not an integer", reader.PathOf("int"), Shown(range),
                                      Shown(range[end])),
                      absl::StrFormat("#%s/%d", reader.PointerOf("int"), end), Shown(range[end]),
                      absl::StrFormat("Write {\"low\": %s, \"high\": %s} for real numbers", Shown(range[0]),
                                      Shown(range[1])));
  }
  if (!pair) return reader.WrongType("int", "two integers [low, high]");
  out_.low = range[0].get<double>();
  out_.high = range[1].get<double>();
  if (std::abs(out_.low) > kMaxInteger || std::abs(out_.high) > kMaxInteger) {
    return reader.Impossible("int", "is too wide", "Stay within 2^53");
  }
  if (!(out_.low < out_.high)) {
    const bool equal = out_.low == out_.high;
    return SpaceError("E0204",
                      absl::StrFormat("%s = %s: low %s high", reader.PathOf("int"), Shown(range),
                                      equal ? "equals" : "is above"),
                      "#" + reader.PointerOf("int"), Shown(range),
                      equal ? "Write the number alone for a constant" : "Swap them");
  }
  if (out_.log && out_.low < 1) {
    return SpaceError("E0211",
                      absl::StrFormat("%s = %s: low %s is not allowed with log = true", reader.PathOf("int"),
                                      Shown(range), Shown(range[0])),
                      "#" + reader.PointerOf("int"), Shown(range), "Use a low of 1 or more");
  }
  return absl::OkStatus();
}

absl::Status ParameterReader::ReadStep(const JsonReader& reader) {
  RUNG_ASSIGN_OR_RETURN(out_.step, reader.Number("step"));
  if (!out_.step.has_value()) return absl::OkStatus();
  if (!out_.choices.empty()) return reader.Impossible("step", "fits ranges only", "Leave it out");
  if (out_.log) return reader.Impossible("step", "does not go with log = true", "Leave one of them out");
  if (!(*out_.step > 0) || *out_.step > out_.high - out_.low) {
    return reader.Impossible("step", "must be above 0 and at most high - low", "Use a smaller positive step");
  }
  if (out_.kind == ParameterKind::kInt && *out_.step != std::round(*out_.step)) {
    return reader.WrongType("step", "an integer");
  }
  if ((out_.high - out_.low) / *out_.step > kMaxInteger) {
    return reader.Impossible("step", "is too small for the range", "Use a larger step");
  }
  return absl::OkStatus();
}

absl::Status ParameterReader::ReadDefault(const JsonReader& reader) {
  out_.default_value = NaturalDefault(out_);
  const nlohmann::json* json = reader.Find("default");
  if (json == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const Value value,
                        ReadValue(*json, reader.PathOf("default"), reader.PointerOf("default")));
  out_.default_value = out_.Typed(value);
  if (!out_.Contains(out_.default_value)) {
    return SpaceError(
        "E0212", absl::StrFormat("%s = %s is outside the parameter", reader.PathOf("default"), Shown(*json)),
        "#" + reader.PointerOf("default"), Shown(*json), out_.AllowedText());
  }
  return absl::OkStatus();
}

absl::Status ParameterReader::ReadPrior(const JsonReader& reader) {
  const nlohmann::json* json = reader.Find("prior");
  if (json == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const JsonReader prior, JsonReader::Open(*json, reader.PathOf("prior"),
                                                                 reader.PointerOf("prior"), kSpaceCodes));
  const bool range = out_.choices.empty();
  RUNG_RETURN_IF_ERROR(prior.OnlyKeys(range ? std::vector<std::string>{"normal", "lognormal", "beta"}
                                            : std::vector<std::string>{"weights"}));
  if (json->size() != 1) {
    return reader.Impossible("prior", "must say one thing",
                             range ? "Write {\"normal\": [mean, sd]}" : "Write {\"weights\": [...]}");
  }
  const std::string key = json->begin().key();
  const nlohmann::json& list = *prior.Find(key);
  const size_t expected = range ? 2 : out_.choices.size();
  const bool numbers =
      list.is_array() && list.size() == expected &&
      std::all_of(list.begin(), list.end(), [](const nlohmann::json& n) { return n.is_number(); });
  if (!numbers) return prior.WrongType(key, absl::StrFormat("a list of %d numbers", expected));
  const std::vector<double> values = list.get<std::vector<double>>();
  return range ? ReadRangePrior(prior, key, values) : ReadWeights(prior, values);
}

absl::Status ParameterReader::ReadRangePrior(const JsonReader& prior, const std::string& key,
                                             const std::vector<double>& values) {
  const std::pair<double, double> pair = {values[0], values[1]};
  if (key == "beta") {
    if (!(values[0] > 0 && values[1] > 0)) {
      return prior.Impossible(key, "needs two numbers above 0", "Write [alpha, beta]");
    }
    out_.beta_prior = pair;
    return absl::OkStatus();
  }
  if (!(values[1] > 0)) return prior.Impossible(key, "needs an sd above 0", "Write [mean, sd]");
  if (key == "normal") {
    out_.normal_prior = pair;
    return absl::OkStatus();
  }
  if (out_.log) {
    return prior.Impossible(key, "does not go with log = true",
                            "Use normal: on a logarithmic scale it is a log-normal");
  }
  if (out_.low <= 0) return prior.Impossible(key, "needs a low above 0", "Use normal, or a low above 0");
  out_.lognormal_prior = pair;
  return absl::OkStatus();
}

absl::Status ParameterReader::ReadWeights(const JsonReader& prior, const std::vector<double>& values) {
  const bool positive = std::all_of(values.begin(), values.end(), [](double w) { return w >= 0; }) &&
                        std::any_of(values.begin(), values.end(), [](double w) { return w > 0; });
  if (!positive) {
    return prior.Impossible("weights", "must not be negative, and not all 0", "Use weights like [3, 1, 1]");
  }
  out_.weights = values;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Parameter> Parameter::Parse(const std::string& name, const nlohmann::json& json) {
  return ParameterReader(name).Run(json);
}

nlohmann::json Parameter::ToJson() const {
  nlohmann::json json = nlohmann::json::object();
  nlohmann::json values = nlohmann::json::array();
  for (const Value& choice : choices) values.push_back(rung::ToJson(choice));
  switch (kind) {
    case ParameterKind::kFloat:
      json["low"] = low;
      json["high"] = high;
      break;
    case ParameterKind::kInt:
      json["int"] = {static_cast<int64_t>(low), static_cast<int64_t>(high)};
      break;
    case ParameterKind::kCategorical:
      json["values"] = values;
      break;
    case ParameterKind::kOrdinal:
      json["ordinal"] = values;
      break;
    case ParameterKind::kConstant:
      json["value"] = values[0];
      break;
  }
  if (log) json["log"] = true;
  if (step.has_value()) json["step"] = *step;
  if (kind != ParameterKind::kConstant) json["default"] = rung::ToJson(default_value);
  if (condition.has_value()) json["if"] = condition->text();
  if (normal_prior.has_value()) {
    json["prior"] = {{"normal", {normal_prior->first, normal_prior->second}}};
  }
  if (lognormal_prior.has_value()) {
    json["prior"] = {{"lognormal", {lognormal_prior->first, lognormal_prior->second}}};
  }
  if (beta_prior.has_value()) json["prior"] = {{"beta", {beta_prior->first, beta_prior->second}}};
  if (!weights.empty()) json["prior"] = {{"weights", weights}};
  return json;
}

}  // namespace rung
