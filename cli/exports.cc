#include "cli/exports.h"

#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/output.h"
#include "proto/wire.h"

namespace rung {
namespace {

std::string Line(const std::vector<std::string>& cells) {
  return absl::StrJoin(cells, ",") + "\r\n";
}

std::string CsvJson(const OrderedJson& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return CsvText(value.get<std::string>());
  if (value.is_number_float()) return CsvNumber(value.get<double>());
  return value.dump();
}

std::string CsvTime(int64_t utc_ms) {
  return utc_ms == 0 ? "" : JsonTime(utc_ms).get<std::string>();
}

std::string CsvMetric(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics,
                      const std::string& name) {
  const v1::Metric* metric = FindMetric(metrics, name);
  return metric == nullptr ? "" : CsvNumber(FromWire(*metric));
}

std::set<std::string> EvaluationNames(const std::vector<v1::TrialRow>& trials) {
  std::set<std::string> names;
  for (const auto& trial : trials) {
    for (const auto& metric : trial.evaluation()) names.insert(metric.name());
  }
  return names;
}

std::set<std::string> ResultNames(const std::vector<v1::TrialRow>& trials) {
  std::set<std::string> names;
  for (const auto& trial : trials) {
    for (const auto& rung : trial.rungs()) {
      for (const auto& replicate : rung.replicates()) {
        for (const auto& metric : replicate.values()) names.insert(metric.name());
      }
    }
  }
  return names;
}

}  // namespace

std::string CsvText(const std::string& text) {
  std::string cell = text;
  if (!cell.empty() && std::string("=+-@\t\r").find(cell[0]) != std::string::npos) cell = "'" + cell;
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string CsvNumber(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 32> buffer;  // the shortest text that reads back as the same number
  const std::to_chars_result end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end.ptr);
}

std::string TrialsCsv(const std::vector<v1::TrialRow>& trials, const StudySpec& spec) {
  const std::set<std::string> evaluations = EvaluationNames(trials);
  std::vector<std::string> header = {"study",  "trial",   "state",      "bracket",      "rung",
                                     "budget", "score",   "score_rung", "score_budget", "origin",
                                     "cause",  "message", "created_at"};
  for (const Parameter& parameter : spec.space.parameters())
    header.push_back(CsvText("config." + parameter.name));
  for (const std::string& name : evaluations) header.push_back(CsvText(name));
  std::string text = Line(header);
  const std::vector<double> budgets = spec.RungBudgets();
  for (const v1::TrialRow& trial : trials) {
    const auto score_rung = static_cast<size_t>(trial.score_rung());
    const bool scored = trial.has_score();
    std::vector<std::string> cells = {
        std::to_string(trial.study()),
        std::to_string(trial.trial()),
        trial.state(),
        trial.bracket() < 0 ? "" : std::to_string(trial.bracket()),
        std::to_string(trial.rung()),
        CsvNumber(trial.budget()),
        scored ? CsvNumber(FromWire(trial.score())) : "",
        scored ? std::to_string(trial.score_rung()) : "",
        scored && score_rung < budgets.size() ? CsvNumber(budgets[score_rung]) : "",
        trial.origin(),
        trial.cause(),
        CsvText(trial.message()),
        CsvTime(trial.created_at_ms())};
    const OrderedJson config = OrderedJson::parse(trial.config_json(), nullptr, false);
    for (const Parameter& parameter : spec.space.parameters()) {
      cells.push_back(config.is_object() && config.contains(parameter.name) ? CsvJson(config[parameter.name])
                                                                            : "");
    }
    for (const std::string& name : evaluations) cells.push_back(CsvMetric(trial.evaluation(), name));
    text += Line(cells);
  }
  return text;
}

std::string ResultsCsv(const std::vector<v1::TrialRow>& trials) {
  const std::set<std::string> metrics = ResultNames(trials);
  std::vector<std::string> header = {"study",          "trial",          "rung",       "budget",
                                     "replicate",      "attempt",        "attempts",   "losses",
                                     "budget_charged", "device_seconds", "copied_from"};
  for (const std::string& name : metrics) header.push_back(CsvText(name));
  std::string text = Line(header);
  for (const auto& trial : trials) {
    for (const auto& rung : trial.rungs()) {
      for (const auto& replicate : rung.replicates()) {
        std::vector<std::string> cells = {
            std::to_string(trial.study()),         std::to_string(trial.trial()),
            std::to_string(rung.rung()),           CsvNumber(rung.budget()),
            std::to_string(replicate.replicate()), std::to_string(replicate.attempt()),
            std::to_string(replicate.attempts()),  std::to_string(replicate.losses()),
            CsvNumber(replicate.charged()),        CsvNumber(replicate.device_seconds()),
            CsvText(replicate.copied_from())};
        for (const std::string& name : metrics) cells.push_back(CsvMetric(replicate.values(), name));
        text += Line(cells);
      }
    }
  }
  return text;
}

std::string TrialsJsonl(const std::vector<v1::TrialRow>& trials) {
  std::string text;
  for (const auto& trial : trials) {
    OrderedJson json = TrialJson(trial);
    json.erase("rungs");
    text += json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
  }
  return text;
}

std::string ResultsJsonl(const std::vector<v1::TrialRow>& trials) {
  std::string text;
  for (const auto& trial : trials) {
    const OrderedJson row = TrialJson(trial);
    for (const OrderedJson& rung : row["rungs"]) {
      for (const OrderedJson& replicate : rung["replicates"]) {
        OrderedJson json = {{"study", trial.study()},
                            {"trial", trial.trial()},
                            {"rung", rung["rung"]},
                            {"budget", rung["budget"]}};
        json.update(replicate);
        text += json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
      }
    }
  }
  return text;
}

}  // namespace rung
