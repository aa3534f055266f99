#include "search/event_json.h"

#include <cmath>
#include <initializer_list>
#include <limits>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "search/json_reader.h"
#include "search/space.h"

namespace rung {
namespace {

using Json = nlohmann::json;

Json Number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double NumberFrom(const Json& json) {
  if (json.is_number()) return json.get<double>();
  const auto& word = json.get_ref<const std::string&>();
  const double infinity = std::numeric_limits<double>::infinity();
  return word == "inf" ? infinity : word == "-inf" ? -infinity : std::numeric_limits<double>::quiet_NaN();
}

Json JobJson(const Job& job) {
  Json json = {{"trial", job.trial.value}, {"rung", job.rung}, {"replicate", job.replicate}};
  if (job.kind == AttemptKind::kEvaluate) json["kind"] = Name(job.kind);
  return json;
}

Job JobFrom(const Json& json) {
  Job job{{json.at("trial").get<int64_t>()}, json.at("rung").get<int>(), json.at("replicate").get<int>()};
  if (json.contains("kind")) job.kind = AttemptKind::kEvaluate;
  return job;
}

// The value whose Name it is. Throws out_of_range, as nlohmann's at does.
template <typename Enum>
Enum FromName(const Json& json, std::initializer_list<Enum> values) {
  for (const Enum value : values) {
    if (json == Name(value)) return value;
  }
  return static_cast<Enum>(Json::array().at(0).get<int>());
}

Json ResultJson(const ResultValues& result) {
  Json values = Json::object();
  for (const auto& [name, value] : result.values) values[name] = Number(value);
  return {{"values", values},
          {"outputs", result.outputs},
          {"charged", Number(result.charged)},
          {"device_seconds", Number(result.device_seconds)}};
}

ResultValues ResultFrom(const Json& json) {
  ResultValues result;
  for (const auto& [name, value] : json.at("values").items()) result.values[name] = NumberFrom(value);
  result.outputs = json.at("outputs").get<std::map<std::string, std::string>>();
  result.charged = NumberFrom(json.at("charged"));
  result.device_seconds = NumberFrom(json.at("device_seconds"));
  return result;
}

Json OriginJson(const Origin& origin) {
  Json pending = Json::array();
  for (const TrialId trial : origin.pending) pending.push_back(trial.value);
  return {{"source", Name(origin.source)},
          {"as_of", origin.as_of},
          {"pending", pending},
          {"model_rung", origin.model_rung},
          {"detail", origin.detail_json}};
}

Origin OriginFrom(const Json& json) {
  using Source = Origin::Source;
  Origin origin;
  origin.source =
      FromName(json.at("source"), {Source::kEnqueued, Source::kRandom, Source::kModel, Source::kGrid});
  origin.as_of = json.at("as_of").get<int64_t>();
  for (const Json& trial : json.at("pending")) origin.pending.push_back({trial.get<int64_t>()});
  origin.model_rung = json.at("model_rung").get<int>();
  origin.detail_json = json.at("detail").get<std::string>();
  return origin;
}

void AddSpent(const Spent& spent, Json& json) {
  if (spent.charged != 0) json["charged"] = Number(spent.charged);
  if (spent.device_seconds != 0) json["device_seconds"] = Number(spent.device_seconds);
}

Spent SpentFrom(const Json& json) {
  Spent spent;
  if (json.contains("charged")) spent.charged = NumberFrom(json["charged"]);
  if (json.contains("device_seconds")) spent.device_seconds = NumberFrom(json["device_seconds"]);
  return spent;
}

void AddPayload(const Event& event, Json& json) {
  switch (event.kind) {
    case EventKind::kTrialCreated:
      json["config"] = ToJson(event.config);
      json["origin"] = OriginJson(event.origin);
      json["bracket"] = event.bracket;
      json["first_rung"] = event.first_rung;
      break;
    case EventKind::kAttemptGranted:
      json["worker"] = event.worker;
      json["resume_attempt"] = event.resume_attempt;
      json["resume_rung"] = event.resume_rung;
      break;
    case EventKind::kAttemptLost:
      json["loss"] = Name(event.loss);
      AddSpent(event.spent, json);
      break;
    case EventKind::kAttemptFailed:
      json["cause"] = Name(event.cause);
      AddSpent(event.spent, json);
      break;
    case EventKind::kCheckpoint:
      json["budget"] = Number(event.result.charged);
      break;
    case EventKind::kResult:
      json["result"] = ResultJson(event.result);
      json["identity"] = event.identity;
      if (event.copied_from.has_value()) {
        json["copied_from"] = {{"study", event.copied_from->study.value},
                               {"job", JobJson(event.copied_from->job)}};
      }
      break;
    case EventKind::kTrialFinished:
      json["trial_state"] = Name(event.trial_state);
      if (event.trial_state == TrialState::kFailed) json["cause"] = Name(event.cause);
      break;
    case EventKind::kStudyState:
      json["study_state"] = Name(event.study_state);
      break;
    case EventKind::kPromoted:
      break;
  }
}

FailureCause CauseFrom(const Json& json) {
  return FromName(json, {FailureCause::kOutOfMemory, FailureCause::kDiverged, FailureCause::kBadData,
                         FailureCause::kCrash, FailureCause::kInfrastructure});
}

absl::Status ReadPayload(const Json& json, Event& event) {
  switch (event.kind) {
    case EventKind::kTrialCreated: {
      RUNG_ASSIGN_OR_RETURN(event.config, ConfigFromJson(json.at("config")));
      event.origin = OriginFrom(json.at("origin"));
      event.bracket = json.at("bracket").get<int>();
      event.first_rung = json.at("first_rung").get<int>();
      break;
    }
    case EventKind::kAttemptGranted:
      event.worker = json.at("worker").get<std::string>();
      event.resume_attempt = json.at("resume_attempt").get<int64_t>();
      event.resume_rung = json.at("resume_rung").get<int>();
      break;
    case EventKind::kAttemptLost:
      event.loss = FromName(json.at("loss"), {LossReason::kReleased, LossReason::kLost, LossReason::kKilled,
                                              LossReason::kOutage});
      event.spent = SpentFrom(json);
      break;
    case EventKind::kAttemptFailed:
      event.cause = CauseFrom(json.at("cause"));
      event.spent = SpentFrom(json);
      break;
    case EventKind::kCheckpoint:
      event.result.charged = NumberFrom(json.at("budget"));
      break;
    case EventKind::kResult:
      event.result = ResultFrom(json.at("result"));
      event.identity = json.at("identity").get<std::string>();
      if (json.contains("copied_from")) {
        const Json& source = json.at("copied_from");
        event.copied_from = {{source.at("study").get<int64_t>()}, JobFrom(source.at("job"))};
      }
      break;
    case EventKind::kTrialFinished:
      event.trial_state = FromName(json.at("trial_state"),
                                   {TrialState::kCompleted, TrialState::kStopped, TrialState::kFailed});
      if (json.contains("cause")) event.cause = CauseFrom(json.at("cause"));
      break;
    case EventKind::kStudyState:
      event.study_state =
          FromName(json.at("study_state"),
                   {StudyState::kRunning, StudyState::kPaused, StudyState::kStopping, StudyState::kEvaluating,
                    StudyState::kDone, StudyState::kStopped, StudyState::kFailed});
      break;
    case EventKind::kPromoted:
      break;
  }
  return absl::OkStatus();
}

absl::Status Unreadable(const Json& json) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0342", "this is no event of a study's log", "", Shown(json),
                    "Ask a coordinator of the same version"});
}

}  // namespace

Json ToJson(const Event& event) {
  Json json = JobJson(event.job);
  json["seq"] = event.seq;
  json["at"] = absl::ToUnixMicros(event.at);
  json["event"] = Name(event.kind);
  if (event.attempt != 0) json["attempt"] = event.attempt;
  if (!event.message.empty()) json["message"] = event.message;
  if (!event.decision_json.empty()) json["decision"] = event.decision_json;
  AddPayload(event, json);
  return json;
}

absl::StatusOr<Event> EventFromJson(const Json& json) {
  // nlohmann's access functions throw on what is missing or of another type.
  try {
    Event event;
    event.job = JobFrom(json);
    event.seq = json.at("seq").get<int64_t>();
    event.at = absl::FromUnixMicros(json.at("at").get<int64_t>());
    event.kind = FromName(json.at("event"),
                          {EventKind::kTrialCreated, EventKind::kAttemptGranted, EventKind::kAttemptLost,
                           EventKind::kAttemptFailed, EventKind::kCheckpoint, EventKind::kResult,
                           EventKind::kPromoted, EventKind::kTrialFinished, EventKind::kStudyState});
    event.attempt = json.value("attempt", int64_t{0});
    event.message = json.value("message", std::string());
    event.decision_json = json.value("decision", std::string());
    RUNG_RETURN_IF_ERROR(ReadPayload(json, event));
    return event;
  } catch (const Json::exception&) {
    return Unreadable(json);
  }
}

}  // namespace rung
