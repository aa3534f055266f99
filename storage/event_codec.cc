#include "storage/event_codec.h"

#include <cmath>
#include <initializer_list>
#include <limits>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace rung {
namespace {

using Json = nlohmann::json;

absl::Status Unreadable(const std::string& text) {
  return MakeError(absl::StatusCode::kDataLoss,
                   {"E0506", "a stored row cannot be read", "", text.substr(0, 200),
                    "Restore a copy: rung backup restore FILE"});
}

// nlohmann's access functions throw on a wrong type: caught here, in the one place that reads stored JSON.
template <typename Read>
absl::Status ReadJson(const std::string& text, const Read& read) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Unreadable(text);
  try {
    return read(json) ? absl::OkStatus() : Unreadable(text);
  } catch (const Json::exception&) {
    return Unreadable(text);
  }
}

template <typename Enum>
bool FromName(const std::string& name, std::initializer_list<Enum> values, Enum& out) {
  for (const Enum value : values) {
    if (name == Name(value)) {
      out = value;
      return true;
    }
  }
  return false;
}

bool LossFromName(const std::string& name, LossReason& out) {
  return FromName(name, {LossReason::kReleased, LossReason::kLost, LossReason::kKilled, LossReason::kOutage},
                  out);
}

bool CauseFromName(const std::string& name, FailureCause& out) {
  return FromName(name,
                  {FailureCause::kOutOfMemory, FailureCause::kDiverged, FailureCause::kBadData,
                   FailureCause::kCrash, FailureCause::kInfrastructure},
                  out);
}

bool TrialStateFromName(const std::string& name, TrialState& out) {
  return FromName(name,
                  {TrialState::kQueued, TrialState::kRunning, TrialState::kWaiting, TrialState::kCompleted,
                   TrialState::kStopped, TrialState::kFailed},
                  out);
}

bool StudyStateFromName(const std::string& name, StudyState& out) {
  return FromName(name,
                  {StudyState::kRunning, StudyState::kPaused, StudyState::kStopping, StudyState::kEvaluating,
                   StudyState::kDone, StudyState::kStopped, StudyState::kFailed},
                  out);
}

bool SourceFromName(const std::string& name, Origin::Source& out) {
  return FromName(
      name,
      {Origin::Source::kEnqueued, Origin::Source::kRandom, Origin::Source::kModel, Origin::Source::kGrid},
      out);
}

}  // namespace

std::string OriginToText(const Origin& origin) {
  Json json;
  json["source"] = Name(origin.source);
  json["as_of"] = origin.as_of;
  json["pending"] = Json::array();
  for (const TrialId trial : origin.pending) json["pending"].push_back(trial.value);
  json["model_rung"] = origin.model_rung;
  json["detail"] = origin.detail_json;
  return json.dump();
}

absl::StatusOr<Origin> OriginFromText(const std::string& text) {
  Origin origin;
  RUNG_RETURN_IF_ERROR(ReadJson(text, [&](const Json& json) {
    origin.as_of = json.at("as_of").get<int64_t>();
    for (const Json& trial : json.at("pending")) origin.pending.push_back(TrialId{trial.get<int64_t>()});
    origin.model_rung = json.at("model_rung").get<int>();
    origin.detail_json = json.at("detail").get<std::string>();
    return SourceFromName(json.at("source").get<std::string>(), origin.source);
  }));
  return origin;
}

std::string MetricsToText(const std::map<std::string, double>& values) {
  Json json = Json::object();
  for (const auto& [name, value] : values) {
    if (std::isfinite(value)) {
      json[name] = value;
    } else {
      json[name] = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    }
  }
  return json.dump();
}

absl::StatusOr<std::map<std::string, double>> MetricsFromText(const std::string& text) {
  std::map<std::string, double> values;
  RUNG_RETURN_IF_ERROR(ReadJson(text, [&](const Json& json) {
    for (const auto& [name, value] : json.items()) {
      if (value.is_number()) {
        values[name] = value.get<double>();
        continue;
      }
      const std::string word = value.get<std::string>();
      if (word != "nan" && word != "inf" && word != "-inf") return false;
      const double infinity = std::numeric_limits<double>::infinity();
      values[name] = word == "nan"   ? std::numeric_limits<double>::quiet_NaN()
                     : word == "inf" ? infinity
                                     : -infinity;
    }
    return true;
  }));
  return values;
}

std::string StringsToText(const std::map<std::string, std::string>& values) {
  // `replace`: a path may hold bytes that are not UTF-8; the text must stay JSON.
  return Json(values).dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<std::map<std::string, std::string>> StringsFromText(const std::string& text) {
  std::map<std::string, std::string> values;
  RUNG_RETURN_IF_ERROR(ReadJson(text, [&](const Json& json) {
    values = json.get<std::map<std::string, std::string>>();
    return true;
  }));
  return values;
}

std::string CopiedFromToText(const CopiedFrom& source) {
  Json json;
  json["study"] = source.study.value;
  json["trial"] = source.job.trial.value;
  json["rung"] = source.job.rung;
  json["replicate"] = source.job.replicate;
  json["kind"] = Name(source.job.kind);
  return json.dump();
}

absl::StatusOr<CopiedFrom> CopiedFromFromText(const std::string& text) {
  CopiedFrom source;
  RUNG_RETURN_IF_ERROR(ReadJson(text, [&](const Json& json) {
    source.study.value = json.at("study").get<int64_t>();
    source.job.trial.value = json.at("trial").get<int64_t>();
    source.job.rung = json.at("rung").get<int>();
    source.job.replicate = json.at("replicate").get<int>();
    return FromName(json.at("kind").get<std::string>(), {AttemptKind::kTrain, AttemptKind::kEvaluate},
                    source.job.kind);
  }));
  return source;
}

absl::StatusOr<EventKind> EventKindFromName(const std::string& name) {
  EventKind kind;
  if (!FromName(name,
                {EventKind::kTrialCreated, EventKind::kAttemptGranted, EventKind::kAttemptLost,
                 EventKind::kAttemptFailed, EventKind::kCheckpoint, EventKind::kResult, EventKind::kPromoted,
                 EventKind::kTrialFinished, EventKind::kStudyState},
                kind)) {
    return Unreadable(name);
  }
  return kind;
}

namespace {

void AddSpent(const Spent& spent, Json& json) {
  if (spent.charged != 0) json["charged"] = spent.charged;
  if (spent.device_seconds != 0) json["device_seconds"] = spent.device_seconds;
}

}  // namespace

std::string BodyToText(const Event& event) {
  Json json = Json::object();
  if (!event.message.empty()) json["message"] = event.message;
  if (!event.decision_json.empty()) json["decision"] = event.decision_json;
  const bool has_trial_row = event.kind == EventKind::kTrialCreated;
  if (!has_trial_row && event.bracket != -1) json["bracket"] = event.bracket;
  if (!has_trial_row && event.first_rung != 0) json["first_rung"] = event.first_rung;
  switch (event.kind) {
    case EventKind::kAttemptLost:
      json["loss"] = Name(event.loss);
      AddSpent(event.spent, json);
      break;
    case EventKind::kAttemptFailed:
      json["cause"] = Name(event.cause);
      AddSpent(event.spent, json);
      break;
    case EventKind::kCheckpoint:
      json["budget"] = event.result.charged;
      break;
    case EventKind::kTrialFinished:
      json["trial_state"] = Name(event.trial_state);
      if (event.trial_state == TrialState::kFailed) json["cause"] = Name(event.cause);
      break;
    case EventKind::kStudyState:
      json["study_state"] = Name(event.study_state);
      break;
    case EventKind::kTrialCreated:
    case EventKind::kAttemptGranted:
    case EventKind::kResult:
    case EventKind::kPromoted:
      break;
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::Status BodyFromText(const std::string& text, Event& event) {
  return ReadJson(text, [&](const Json& json) {
    event.message = json.value("message", std::string());
    event.decision_json = json.value("decision", std::string());
    event.bracket = json.value("bracket", -1);
    event.first_rung = json.value("first_rung", 0);
    event.result.charged = json.value("budget", 0.0);
    event.spent = {json.value("charged", 0.0), json.value("device_seconds", 0.0)};
    bool known = true;
    if (json.contains("loss")) known = known && LossFromName(json["loss"].get<std::string>(), event.loss);
    if (json.contains("cause")) known = known && CauseFromName(json["cause"].get<std::string>(), event.cause);
    if (json.contains("trial_state")) {
      known = known && TrialStateFromName(json["trial_state"].get<std::string>(), event.trial_state);
    }
    if (json.contains("study_state")) {
      known = known && StudyStateFromName(json["study_state"].get<std::string>(), event.study_state);
    }
    return known;
  });
}

}  // namespace rung
