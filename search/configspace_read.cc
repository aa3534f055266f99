// ConfigSpace's JSON as our own.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "search/configspace.h"
#include "search/json_position.h"
#include "search/json_reader.h"

namespace rung {
namespace {

using Json = nlohmann::json;

constexpr ReaderCodes kCodes = {"E0226", "E0226", "E0226", "E0226"};

absl::Status Unreadable(const std::string& message, const std::string& pointer, const Json& value,
                        const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0226", "ConfigSpace: " + message, "#" + pointer, Shown(value), mend});
}

class Translation {
 public:
  absl::StatusOr<Json> Run(const Json& json);

 private:
  using Text = absl::StatusOr<std::string>;

  absl::Status ReadParameter(const Json& json, const std::string& pointer);
  absl::StatusOr<Json> Range(const JsonReader& reader, const std::string& type) const;
  absl::Status ReadPrior(const JsonReader& reader, const std::string& type, Json& out) const;
  absl::StatusOr<Json> Choices(const JsonReader& reader, const std::string& type) const;
  // `conditional`: whether != on a parent that may be inactive holds there.
  Text Clause(const Json& json, const std::string& pointer, bool is_condition) const;
  Text Joined(const JsonReader& reader, const std::string& type, const std::string& pointer,
              bool is_condition) const;
  Text Relation(const JsonReader& reader, const std::string& type, const std::string& pointer) const;
  Text Compared(const JsonReader& reader, const std::string& type, const std::string& pointer,
                bool is_condition) const;
  Text Name(const JsonReader& reader, const std::string& key, const std::string& pointer) const;
  Text Value(const Json& value, const std::string& pointer) const;

  Json out_ = Json::object();
  std::set<std::string> conditional_;
};

absl::StatusOr<Json> Translation::Run(const Json& json) {
  RUNG_ASSIGN_OR_RETURN(const JsonReader reader, JsonReader::Open(json, "", "", kCodes));
  const Json& parameters = json.at("hyperparameters");
  for (size_t i = 0; i < parameters.size(); ++i) {
    RUNG_RETURN_IF_ERROR(ReadParameter(parameters[i], absl::StrFormat("/hyperparameters/%d", i)));
  }
  const Json none = Json::array();
  const auto list = [&](const char* key) -> const Json& {
    const Json* found = reader.Find(key);
    return found == nullptr || found->is_null() ? none : *found;
  };
  const Json& conditions = list("conditions");
  const Json& forbiddens = list("forbiddens");
  if (!conditions.is_array()) return reader.WrongType("conditions", "a list");
  if (!forbiddens.is_array()) return reader.WrongType("forbiddens", "a list");
  for (const Json& condition : conditions) {
    if (condition.is_object() && condition.contains("child") && condition["child"].is_string())
      conditional_.insert(condition["child"].get<std::string>());
  }
  for (size_t i = 0; i < conditions.size(); ++i) {
    const std::string pointer = absl::StrFormat("/conditions/%d", i);
    RUNG_ASSIGN_OR_RETURN(const JsonReader condition,
                          JsonReader::Open(conditions[i], pointer.substr(1), pointer, kCodes));
    RUNG_RETURN_IF_ERROR(condition.Required("child", "\"child\": a name").status());
    RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> child, condition.String("child"));
    if (!out_.contains(*child)) {
      return Unreadable("a condition of " + *child + ", which is no hyperparameter", pointer, *child,
                        "Correct the name");
    }
    RUNG_ASSIGN_OR_RETURN(std::string text, Clause(conditions[i], pointer, true));
    Json& parameter = out_[*child];
    if (parameter.contains("if")) text = "(" + parameter["if"].get<std::string>() + ") and (" + text + ")";
    parameter["if"] = text;
  }
  Json clauses = Json::array();
  for (size_t i = 0; i < forbiddens.size(); ++i) {
    RUNG_ASSIGN_OR_RETURN(const std::string text,
                          Clause(forbiddens[i], absl::StrFormat("/forbiddens/%d", i), false));
    clauses.push_back(text);
  }
  if (!clauses.empty()) out_["forbidden"] = clauses;
  return std::move(out_);
}

absl::Status Translation::ReadParameter(const Json& json, const std::string& pointer) {
  RUNG_ASSIGN_OR_RETURN(const JsonReader reader, JsonReader::Open(json, pointer.substr(1), pointer, kCodes));
  RUNG_RETURN_IF_ERROR(reader.Required("name", "\"name\": a string").status());
  RUNG_RETURN_IF_ERROR(reader.Required("type", "\"type\": \"uniform_float\"").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> name, reader.String("name"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> type, reader.String("type"));
  if (*name == "forbidden" || *name == "constraints") {
    return Unreadable(*name + " is a reserved name", pointer, *name, "Rename the hyperparameter");
  }
  if (out_.contains(*name)) return Unreadable(*name + " stands twice", pointer, *name, "Keep one of them");
  Json parameter;
  if (absl::EndsWith(*type, "_float") || absl::EndsWith(*type, "_int")) {
    RUNG_ASSIGN_OR_RETURN(parameter, Range(reader, *type));
  } else if (*type == "categorical" || *type == "ordinal") {
    RUNG_ASSIGN_OR_RETURN(parameter, Choices(reader, *type));
  } else if (*type == "constant" || *type == "unparametrized") {
    RUNG_ASSIGN_OR_RETURN(const Json* value, reader.Required("value", "\"value\": a value"));
    parameter["value"] = *value;
  } else {
    return reader.Impossible("type", "is not known", "Use uniform_float, uniform_int, categorical, ...");
  }
  const Json* fallback = reader.Find("default_value");
  if (fallback == nullptr) fallback = reader.Find("default");  // before format 0.4
  if (fallback != nullptr && !fallback->is_null() && !parameter.contains("value")) {
    parameter["default"] = *fallback;
  }
  out_[*name] = std::move(parameter);
  return absl::OkStatus();
}

absl::StatusOr<Json> Translation::Range(const JsonReader& reader, const std::string& type) const {
  RUNG_RETURN_IF_ERROR(reader.Required("lower", "\"lower\": a number").status());
  RUNG_RETURN_IF_ERROR(reader.Required("upper", "\"upper\": a number").status());
  Json out;
  if (absl::EndsWith(type, "_int")) {
    RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> lower, reader.Integer("lower"));
    RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> upper, reader.Integer("upper"));
    out["int"] = {*lower, *upper};
  } else {
    RUNG_ASSIGN_OR_RETURN(const std::optional<double> lower, reader.Number("lower"));
    RUNG_ASSIGN_OR_RETURN(const std::optional<double> upper, reader.Number("upper"));
    out["low"] = *lower;
    out["high"] = *upper;
  }
  RUNG_ASSIGN_OR_RETURN(const std::optional<bool> log, reader.Bool("log"));
  if (log.value_or(false)) out["log"] = true;
  if (const Json* q = reader.Find("q"); q != nullptr && !q->is_null()) out["step"] = *q;
  RUNG_RETURN_IF_ERROR(ReadPrior(reader, type, out));
  return out;
}

absl::Status Translation::ReadPrior(const JsonReader& reader, const std::string& type, Json& out) const {
  if (absl::StartsWith(type, "uniform_")) return absl::OkStatus();
  const bool normal = absl::StartsWith(type, "normal_");
  if (!normal && !absl::StartsWith(type, "beta_")) {
    return reader.Impossible("type", "is not known", "Use uniform_, normal_ or beta_ float or int");
  }
  const char* first_key = normal ? "mu" : "alpha";
  const char* second_key = normal ? "sigma" : "beta";
  RUNG_RETURN_IF_ERROR(reader.Required(first_key, "the number").status());
  RUNG_RETURN_IF_ERROR(reader.Required(second_key, "the number").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> first, reader.Number(first_key));
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> second, reader.Number(second_key));
  if (!normal) {
    out["prior"] = {{"beta", {*first, *second}}};
  } else if (!out.value("log", false)) {
    out["prior"] = {{"normal", {*first, *second}}};
  } else {
    if (!(*first > 0)) return reader.Impossible("mu", "must be above 0 with log", "Use a mu in the range");
    // Its sigma stands on the value's scale and becomes |ln(lower + sigma)| on the logarithmic one.
    RUNG_ASSIGN_OR_RETURN(const std::optional<double> lower, reader.Number("lower"));
    out["prior"] = {{"normal", {std::log(*first), std::abs(std::log(*lower + *second))}}};
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> Translation::Choices(const JsonReader& reader, const std::string& type) const {
  const bool ordinal = type == "ordinal";
  const char* key = ordinal ? "sequence" : "choices";
  RUNG_ASSIGN_OR_RETURN(const Json* values, reader.Required(key, "a list of values"));
  Json out;
  out[ordinal ? "ordinal" : "values"] = *values;
  const Json* weights = reader.Find("weights");
  if (weights == nullptr) weights = reader.Find("probabilities");  // before format 0.4
  if (!ordinal && weights != nullptr && !weights->is_null()) out["prior"] = {{"weights", *weights}};
  return out;
}

Translation::Text Translation::Clause(const Json& json, const std::string& pointer, bool is_condition) const {
  RUNG_ASSIGN_OR_RETURN(const JsonReader reader, JsonReader::Open(json, pointer.substr(1), pointer, kCodes));
  RUNG_RETURN_IF_ERROR(reader.Required("type", "\"type\": \"EQ\"").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> type, reader.String("type"));
  if (*type == "AND" || *type == "OR") return Joined(reader, *type, pointer, is_condition);
  if (absl::StartsWith(*type, "RELATION")) return Relation(reader, *type, pointer);
  return Compared(reader, *type, pointer, is_condition);
}

Translation::Text Translation::Joined(const JsonReader& reader, const std::string& type,
                                      const std::string& pointer, bool is_condition) const {
  const char* key = is_condition ? "conditions" : "clauses";
  RUNG_ASSIGN_OR_RETURN(const Json* parts, reader.Required(key, "a list"));
  if (!parts->is_array() || parts->empty()) return reader.WrongType(key, "a list of clauses");
  std::vector<std::string> texts;
  for (size_t i = 0; i < parts->size(); ++i) {
    RUNG_ASSIGN_OR_RETURN(const std::string text,
                          Clause((*parts)[i], absl::StrFormat("%s/%s/%d", pointer, key, i), is_condition));
    texts.push_back(parts->size() == 1 ? text : "(" + text + ")");
  }
  return absl::StrJoin(texts, type == "AND" ? " and " : " or ");
}

Translation::Text Translation::Relation(const JsonReader& reader, const std::string& type,
                                        const std::string& pointer) const {
  static const std::map<std::string, std::string> kOperators = {
      {"LT", "<"}, {"LE", "<="}, {"EQ", "="}, {"GT", ">"}, {"GE", ">="}};
  std::string name = type;
  if (type == "RELATION") {  // before format 0.4
    RUNG_RETURN_IF_ERROR(reader.Required("lambda", "\"lambda\": \"LT\"").status());
    RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> lambda, reader.String("lambda"));
    name = "RELATION_" + *lambda;
  }
  const auto found = kOperators.find(name.substr(name.find('_') + 1));
  if (found == kOperators.end()) {
    return Unreadable("an unknown relation " + name, pointer, name, "Use RELATION_LT, _LE, _EQ, _GT or _GE");
  }
  RUNG_ASSIGN_OR_RETURN(const std::string left, Name(reader, "left", pointer));
  RUNG_ASSIGN_OR_RETURN(const std::string right, Name(reader, "right", pointer));
  if (right.front() == '"' || right.front() == '\'') {
    return Unreadable("a relation with " + right + ", a name that needs quotes", pointer, right,
                      "Rename the hyperparameter");
  }
  return left + " " + found->second + " " + right;
}

Translation::Text Translation::Compared(const JsonReader& reader, const std::string& type,
                                        const std::string& pointer, bool is_condition) const {
  RUNG_ASSIGN_OR_RETURN(const std::string name, Name(reader, is_condition ? "parent" : "name", pointer));
  if (type == "IN") {
    RUNG_ASSIGN_OR_RETURN(const Json* values, reader.Required("values", "a list"));
    if (!values->is_array() || values->empty()) return reader.WrongType("values", "a list of values");
    std::vector<std::string> texts;
    for (const Json& value : *values) {
      RUNG_ASSIGN_OR_RETURN(const std::string text, Value(value, pointer));
      texts.push_back(text);
    }
    return name + " in (" + absl::StrJoin(texts, ", ") + ")";
  }
  static const std::map<std::string, std::string> kConditions = {
      {"EQ", "="}, {"NEQ", "!="}, {"LT", "<"}, {"GT", ">"}};
  static const std::map<std::string, std::string> kForbidden = {
      {"EQUALS", "="}, {"CLAUSE_LT", "<"}, {"CLAUSE_LE", "<="}, {"CLAUSE_GT", ">"}, {"CLAUSE_GE", ">="}};
  const auto& operators = is_condition ? kConditions : kForbidden;
  const auto found = operators.find(type);
  if (found == operators.end())
    return reader.Impossible("type", "is not known", "Use EQ, NEQ, LT, GT, IN, ...");
  RUNG_ASSIGN_OR_RETURN(const Json* value, reader.Required("value", "the value"));
  RUNG_ASSIGN_OR_RETURN(const std::string text, Value(*value, pointer));
  const std::string comparison = name + " " + found->second + " " + text;
  const bool may_be_inactive =
      type == "NEQ" && conditional_.contains(reader.Find("parent")->get<std::string>());
  return may_be_inactive ? "(" + name + " is inactive or " + comparison + ")" : comparison;
}

Translation::Text Translation::Name(const JsonReader& reader, const std::string& key,
                                    const std::string& pointer) const {
  RUNG_RETURN_IF_ERROR(reader.Required(key, "the hyperparameter's name").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> name, reader.String(key));
  if (const std::optional<std::string> word = ConditionWord(*name, false)) return *word;
  return Unreadable("a name with both kinds of quotes", pointer, *name, "Rename the hyperparameter");
}

Translation::Text Translation::Value(const Json& value, const std::string& pointer) const {
  if (value.is_number() || value.is_boolean()) return value.dump();
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  // A bare word that is a parameter's name would be a relation.
  const std::optional<std::string> word = ConditionWord(text, out_.contains(text));
  if (value.is_string() && word.has_value()) return *word;
  return Unreadable("a value that cannot be compared", pointer, value, "Use a string, a number or a boolean");
}

}  // namespace

bool IsConfigSpace(const Json& json) {
  if (!json.is_object()) return false;
  const auto list = json.find("hyperparameters");
  return list != json.end() && list->is_array() &&
         std::all_of(list->begin(), list->end(), [](const Json& each) { return each.is_object(); });
}

absl::StatusOr<Json> FromConfigSpace(const Json& json) {
  return Translation().Run(json);
}

absl::Status WhereInConfigSpace(const absl::Status& status, const Json& json) {
  std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value()) return status;
  const Json& parameters = json.at("hyperparameters");
  const size_t slash = detail->where.find('/');
  const std::string pointer = slash == std::string::npos ? "" : detail->where.substr(slash) + "/";
  detail->where = absl::StartsWith(pointer, "/forbidden/") ? "#/forbiddens" : "#";
  for (size_t i = 0; i < parameters.size(); ++i) {
    const std::string name = parameters[i].at("name").get<std::string>();
    if (absl::StartsWith(pointer, "/" + PointerToken(name) + "/"))
      detail->where = absl::StrFormat("#/hyperparameters/%d", i);
  }
  return MakeError(status.code(), *std::move(detail));
}

}  // namespace rung
