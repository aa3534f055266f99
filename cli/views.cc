#include "cli/views.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/output.h"
#include "proto/wire.h"

namespace rung {
namespace {

const char* StateName(v1::NumberState state) {
  switch (state) {
    case v1::NUMBER_STATE_NAN:
      return "nan";
    case v1::NUMBER_STATE_INF_POSITIVE:
      return "inf";
    case v1::NUMBER_STATE_INF_NEGATIVE:
      return "-inf";
    default:
      return "finite";
  }
}

OrderedJson ConfigJson(const std::string& text) {
  OrderedJson config = OrderedJson::parse(text, nullptr, false);
  return config.is_discarded() ? OrderedJson(nullptr) : config;
}

void AddScore(OrderedJson& json, bool has_score, const v1::Metric& score) {
  const double value = has_score ? FromWire(score) : std::numeric_limits<double>::quiet_NaN();
  json["score"] = JsonNumber(value);
  json["score_state"] = has_score ? StateName(score.state()) : "none";
}

template <typename Map>
OrderedJson MapJson(const Map& map) {
  // Protobuf's maps have no order of their own; output is stable.
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  OrderedJson json = OrderedJson::object();
  for (const std::string& key : keys) json[key] = map.at(key);
  return json;
}

OrderedJson ReplicateJson(const v1::ReplicateResult& replicate) {
  OrderedJson json = {{"replicate", replicate.replicate()}, {"attempt", replicate.attempt()}};
  json.update(MetricsJson(replicate.values()));
  json["outputs"] = MapJson(replicate.outputs());
  json["budget_charged"] = replicate.charged();
  json["device_seconds"] = replicate.device_seconds();
  json["copied_from"] =
      replicate.copied_from().empty() ? OrderedJson(nullptr) : OrderedJson(replicate.copied_from());
  json["attempts"] = replicate.attempts();
  json["losses"] = replicate.losses();
  return json;
}

std::string ValueText(const OrderedJson& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return NumberText(value.get<double>());
  return value.dump();
}

}  // namespace

OrderedJson JsonDocument() {
  return {{"schema", 1}};
}

OrderedJson MetricsJson(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics) {
  OrderedJson values = OrderedJson::object();
  OrderedJson states = OrderedJson::object();
  for (const v1::Metric& metric : metrics) {
    values[metric.name()] = JsonNumber(FromWire(metric));
    if (!std::isfinite(FromWire(metric))) states[metric.name()] = StateName(metric.state());
  }
  OrderedJson json = {{"values", values}};
  if (!states.empty()) json["states"] = states;
  return json;
}

OrderedJson StudyJson(const v1::StudyStatus& study) {
  OrderedJson json = {{"study", study.id()},
                      {"name", study.name()},
                      {"state", study.state()},
                      {"message", study.message()},
                      {"version", study.version()},
                      {"created_at", JsonTime(study.created_at_ms())},
                      {"finished_at", JsonTime(study.finished_at_ms())},
                      {"active_seconds", study.active_seconds()},
                      {"device_seconds", study.device_seconds()},
                      {"trained_seconds", study.device_seconds() - study.lost_seconds()},
                      {"lost_seconds", study.lost_seconds()},
                      {"idle_seconds", study.idle_seconds()},
                      {"running_seconds", study.running_seconds()},
                      {"budget_charged", study.budget_charged()},
                      {"budget_saved", study.budget_saved()},
                      {"budget_planned", study.budget_planned()},
                      {"planned_brackets", study.planned_brackets()},
                      {"running_attempts", study.running_attempts()},
                      {"model_proposals", study.model_proposals()},
                      {"trials_by_state", MapJson(study.trials_by_state())},
                      {"failures_by_cause", MapJson(study.failures_by_cause())}};
  json["incumbent"] = study.has_incumbent() ? TrialJson(study.incumbent()) : OrderedJson(nullptr);
  json["brackets"] = OrderedJson::array();
  for (const v1::Bracket& bracket : study.brackets()) {
    json["brackets"].push_back(
        {{"bracket", bracket.index()},
         {"first_rung", bracket.first_rung()},
         {"planned", std::vector<int>(bracket.planned().begin(), bracket.planned().end())},
         {"entered", std::vector<int>(bracket.entered().begin(), bracket.entered().end())},
         {"finished", std::vector<int>(bracket.finished().begin(), bracket.finished().end())},
         {"closed", bracket.closed()}});
  }
  return json;
}

double UnaccountedSeconds(const v1::StudyStatus& study, double allocated_seconds) {
  const double known = study.device_seconds() + study.running_seconds() + study.idle_seconds();
  return std::max(allocated_seconds - known, 0.0);
}

std::string WorkersText(const v1::StudyStatus& study, std::optional<double> allocated_seconds) {
  const auto part = [](double seconds, const char* what) {
    return DurationText(absl::Seconds(seconds)) + " " + what;
  };
  std::string text = part(study.device_seconds() - study.lost_seconds(), "trained");
  if (study.running_seconds() > 0) text += ", " + part(study.running_seconds(), "running");
  text += ", " + part(study.lost_seconds(), "lost") + ", " + part(study.idle_seconds(), "idle");
  if (allocated_seconds.has_value())
    text += ", " + part(UnaccountedSeconds(study, *allocated_seconds), "unaccounted");
  return text;
}

OrderedJson TrialJson(const v1::TrialRow& trial) {
  OrderedJson json = {{"study", trial.study()},     {"trial", trial.trial()}, {"state", trial.state()},
                      {"bracket", trial.bracket()}, {"rung", trial.rung()},   {"budget", trial.budget()},
                      {"origin", trial.origin()}};
  AddScore(json, trial.has_score(), trial.score());
  json["score_rung"] = trial.has_score() ? OrderedJson(trial.score_rung()) : OrderedJson(nullptr);
  json["cause"] = trial.cause().empty() ? OrderedJson(nullptr) : OrderedJson(trial.cause());
  json["message"] = trial.message();
  json["created_at"] = JsonTime(trial.created_at_ms());
  json["config"] = ConfigJson(trial.config_json());
  json["rungs"] = OrderedJson::array();
  for (const v1::RungResult& rung : trial.rungs()) {
    OrderedJson row = {{"rung", rung.rung()}, {"budget", rung.budget()}};
    AddScore(row, rung.has_score(), rung.score());
    row["replicates"] = OrderedJson::array();
    for (const auto& replicate : rung.replicates()) row["replicates"].push_back(ReplicateJson(replicate));
    json["rungs"].push_back(std::move(row));
  }
  json["evaluation"] = trial.evaluation().empty() ? OrderedJson(nullptr) : MetricsJson(trial.evaluation());
  json["evaluation_outputs"] = MapJson(trial.evaluation_outputs());
  return json;
}

OrderedJson WorkerJson(const v1::WorkerRow& worker) {
  OrderedJson json = {{"worker", worker.name()},
                      {"state", worker.state()},
                      {"device", worker.device()},
                      {"host", worker.process().host()},
                      {"pid", worker.process().pid()},
                      {"seen_seconds_ago", worker.seen_seconds_ago()},
                      {"attempts_done", worker.attempts_done()}};
  const bool busy = worker.has_attempt() && worker.attempt().trial() != 0;
  json["study"] = busy ? OrderedJson(worker.attempt().study()) : OrderedJson(nullptr);
  json["trial"] = busy ? OrderedJson(worker.attempt().trial()) : OrderedJson(nullptr);
  json["rung"] = busy ? OrderedJson(worker.attempt().rung()) : OrderedJson(nullptr);
  json["replicate"] = busy ? OrderedJson(worker.attempt().replicate()) : OrderedJson(nullptr);
  json["attempt"] = busy ? OrderedJson(worker.attempt().attempt()) : OrderedJson(nullptr);
  const bool ends = worker.job_seconds_left() > 0;
  json["job_seconds_left"] = ends ? OrderedJson(worker.job_seconds_left()) : OrderedJson(nullptr);
  json["message"] = worker.message();
  return json;
}

OrderedJson AttemptJson(const v1::AttemptRow& attempt) {
  return {{"trial", attempt.key().trial()},
          {"rung", attempt.key().rung()},
          {"replicate", attempt.key().replicate()},
          {"kind", KindName(attempt.key().kind())},
          {"attempt", attempt.key().attempt()},
          {"worker", attempt.worker()},
          {"state", attempt.state()},
          {"started_at", JsonTime(attempt.started_at_ms())},
          {"ended_at", JsonTime(attempt.ended_at_ms())},
          {"log_path", attempt.log_path()}};
}

OrderedJson PointJson(const v1::CurvePoint& point) {
  OrderedJson json = {{"rung", point.rung()},
                      {"replicate", point.replicate()},
                      {"kind", KindName(point.kind())},
                      {"attempt", point.attempt()},
                      {"step", point.point().step()},
                      {"budget", point.point().budget()},
                      {"metric", point.point().metric().name()}};
  json["value"] = JsonNumber(FromWire(point.point().metric()));
  json["value_state"] = StateName(point.point().metric().state());
  return json;
}

const char* KindName(v1::AttemptKind kind) {
  return Name(FromWire(kind));
}

OrderedJson EventJson(const v1::EventRow& event) {
  OrderedJson json = {{"seq", event.seq()},   {"at", JsonTime(event.at_ms())},  {"kind", event.kind()},
                      {"rung", event.rung()}, {"replicate", event.replicate()}, {"attempt", event.attempt()},
                      {"text", event.text()}};
  if (!event.decision_json().empty())
    json["decision"] = OrderedJson::parse(event.decision_json(), nullptr, false);
  return json;
}

std::string MetricText(const v1::Metric& metric) {
  return NumberText(FromWire(metric));
}

std::string ScoreText(const v1::TrialRow& trial) {
  if (!trial.has_score()) return "-";
  const std::string text = MetricText(trial.score());
  if (trial.score_rung() == trial.rung()) return text;
  return absl::StrFormat("%s (rung %d)", text, trial.score_rung());
}

const v1::Metric* FindMetric(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics,
                             const std::string& name) {
  for (const v1::Metric& metric : metrics) {
    if (metric.name() == name) return &metric;
  }
  return nullptr;
}

std::optional<double> FiniteMetric(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics,
                                   const std::string& name) {
  const v1::Metric* metric = FindMetric(metrics, name);
  if (metric == nullptr || !std::isfinite(FromWire(*metric))) return std::nullopt;
  return FromWire(*metric);
}

std::string ConfigText(const std::string& config_json) {
  const OrderedJson config = ConfigJson(config_json);
  if (!config.is_object()) return config_json;
  std::string text;
  for (const auto& [name, value] : config.items())
    text += (text.empty() ? "" : " ") + name + "=" + ValueText(value);
  return text;
}

std::string AmountText(double budget, BudgetUnit unit) {
  std::string name = Name(unit);
  if (budget == 1) name.pop_back();
  return NumberText(budget) + " " + name;
}

std::string BudgetText(int rung, double budget, BudgetUnit unit) {
  return absl::StrFormat("rung %d: %s", rung, AmountText(budget, unit));
}

absl::StatusOr<StudySpec> SpecOf(const v1::StudyStatus& study) {
  absl::StatusOr<StudySpec> spec = StudySpec::Parse(study.canonical_json(), study.name(), "/");
  if (spec.ok()) return spec;
  return MakeError(absl::StatusCode::kInternal,
                   {"E0384", "cannot read the coordinator's study: " + std::string(spec.status().message()),
                    study.name(), "", "Use programs of one version of Rung"});
}

std::vector<v1::TrialRow> BestFirst(std::vector<v1::TrialRow> trials, Goal goal) {
  trials.erase(std::remove_if(trials.begin(), trials.end(),
                              [](const v1::TrialRow& trial) {
                                return !trial.has_score() || !std::isfinite(FromWire(trial.score()));
                              }),
               trials.end());
  std::stable_sort(trials.begin(), trials.end(), [goal](const v1::TrialRow& a, const v1::TrialRow& b) {
    if (a.score_rung() != b.score_rung()) return a.score_rung() > b.score_rung();
    if (a.score().value() != b.score().value()) {
      return (a.score().value() > b.score().value()) == (goal == Goal::kMaximize);
    }
    return a.trial() < b.trial();
  });
  return trials;
}

std::string Hindrance(const v1::StudyStatus& study, const std::vector<v1::WorkerRow>& workers,
                      const std::vector<v1::StudyStatus>& studies) {
  if (IsOver(study) || study.state() == "paused") return "";
  int living = 0;
  int64_t elsewhere = 0;
  for (const v1::WorkerRow& worker : workers) {
    if (worker.state() != "idle" && worker.state() != "busy") continue;
    ++living;
    const bool busy = worker.has_attempt() && worker.attempt().trial() != 0;
    if (!busy || worker.attempt().study() == study.id()) return "";
    elsewhere = worker.attempt().study();
  }
  if (living == 0) return kNoWorkers;
  const auto other = std::find_if(studies.begin(), studies.end(),
                                  [&](const v1::StudyStatus& each) { return each.id() == elsewhere; });
  return "the workers are busy with study " +
         (other == studies.end() ? std::to_string(elsewhere) : Printable(other->name()));
}

bool IsOver(const v1::StudyStatus& study) {
  return IsOverState(study.state());
}

bool IsOverState(const std::string& state) {
  return state == "done" || state == "stopped" || state == "failed";
}

}  // namespace rung
