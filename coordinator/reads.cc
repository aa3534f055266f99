#include "coordinator/reads.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "proto/wire.h"
#include "search/event_json.h"
#include "storage/event_codec.h"

namespace rung {
namespace {

constexpr size_t kBytesAroundARow = 8;  // tag and length

absl::StatusOr<TrialId> FindTrial(const StudyEntry& entry, int64_t number) {
  const TrialId id{number};
  if (entry.study.Has(id)) return id;
  return MakeError(
      absl::StatusCode::kNotFound,
      {"E0624", absl::StrFormat("study %s has no trial %d", entry.record.name, number), "",
       absl::StrFormat("%d", number), "See the trials with: rung trial list " + entry.record.name});
}

// What a scheduler's verdict saw, in words.
std::string VerdictText(const std::string& decision_json) {
  const nlohmann::json seen = nlohmann::json::parse(decision_json, nullptr, false);
  if (!seen.is_object()) return "";
  std::string text = absl::StrFormat("place %d of %d at rung %d", seen.value("place", 0), seen.value("of", 0),
                                     seen.value("rung", 0));
  if (seen.contains("promotes")) {
    text += absl::StrFormat(", the best %d go on", seen.value("promotes", 0));
  } else if (seen.contains("median")) {
    text += absl::StrFormat(", best loss %g, median of %d others %g", seen.value("best", 0.0),
                            seen.value("others", 0), seen.value("median", 0.0));
  } else if (seen.contains("others")) {
    text += absl::StrFormat(", %d others are too few to judge by", seen.value("others", 0));
  }
  return text + " (" + seen.value("scheduler", "") + ")";
}

std::string EventText(const Event& event) {
  std::string text = event.message;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ": ") + part; };
  switch (event.kind) {
    case EventKind::kAttemptGranted:
      add("to " + event.worker);
      break;
    case EventKind::kAttemptLost:
      add(Name(event.loss));
      break;
    case EventKind::kAttemptFailed:
      add(Name(event.cause));
      break;
    case EventKind::kCheckpoint:
      add(absl::StrFormat("at budget %g", event.result.charged));
      break;
    case EventKind::kTrialFinished:
      add(Name(event.trial_state));
      if (!event.decision_json.empty()) add(VerdictText(event.decision_json));
      break;
    case EventKind::kPromoted:
      if (!event.decision_json.empty()) add(VerdictText(event.decision_json));
      break;
    case EventKind::kStudyState:
      add(Name(event.study_state));
      break;
    case EventKind::kTrialCreated:
    case EventKind::kResult:
      break;
  }
  return text;
}

// Drops the oldest rows until the rest is below both limits; returns how many went. The newest one stays.
template <typename Row>
int DropOldest(google::protobuf::RepeatedPtrField<Row>& rows, int max_rows, size_t max_bytes) {
  int kept = 0;
  size_t bytes = 0;
  while (kept < std::min(rows.size(), max_rows)) {
    bytes += rows.Get(rows.size() - 1 - kept).ByteSizeLong() + kBytesAroundARow;
    if (bytes > max_bytes && kept > 0) break;
    ++kept;
  }
  const int dropped = rows.size() - kept;
  rows.DeleteSubrange(0, dropped);
  return dropped;
}

// The attempt that an event ends, or its start.
void AddAttempt(const StateDir& dir, StudyId study, const Event& event, v1::TrialDetail& detail) {
  const AttemptKey key{study, event.job, event.attempt};
  if (event.kind == EventKind::kAttemptGranted) {
    v1::AttemptRow& row = *detail.add_attempts();
    *row.mutable_key() = ToWire(key);
    row.set_worker(event.worker);
    row.set_state("running");
    row.set_started_at_ms(absl::ToUnixMillis(event.at));
    row.set_log_path(dir.attempt_log(study.value, event.job.trial.value, event.job.rung, event.job.replicate,
                                     event.job.kind == AttemptKind::kEvaluate, event.attempt));
    return;
  }
  const char* state = event.kind == EventKind::kResult          ? "reported"
                      : event.kind == EventKind::kAttemptFailed ? "failed"
                      : event.kind == EventKind::kAttemptLost   ? Name(event.loss)
                                                                : nullptr;
  if (state == nullptr || event.copied_from.has_value()) return;
  for (v1::AttemptRow& row : *detail.mutable_attempts()) {
    if (FromWire(row.key()) != key) continue;
    row.set_state(state);
    row.set_ended_at_ms(absl::ToUnixMillis(event.at));
  }
}

}  // namespace

absl::StatusOr<v1::ListStudiesResponse> Answer(const Core& core, const v1::ListStudiesRequest&) {
  v1::ListStudiesResponse response;
  for (const auto& [id, entry] : core.studies()) {
    v1::StudyStatus& status = *response.add_studies();
    status = core.StatusOf(entry);
    status.clear_canonical_json();  // GetStudy has it; hundreds of them would not fit into a message
  }
  return response;
}

absl::StatusOr<v1::ListTrialsResponse> Answer(const Core& core, const v1::ListTrialsRequest& request) {
  RUNG_ASSIGN_OR_RETURN(const StudyEntry* const entry, core.FindStudy(request.study()));
  v1::ListTrialsResponse response;
  const int limit = request.limit() > 0 ? std::min(request.limit(), kMaxTrialRows) : kMaxTrialRows;
  size_t bytes = 0;
  for (const TrialId id : entry->study.trials()) {
    if (id.value <= request.after_trial()) continue;
    const TrialView& trial = entry->study.trial(id);
    if (!request.state().empty() && request.state() != Name(trial.state)) continue;
    if (request.rung() >= 0 && request.rung() != trial.rung) continue;
    v1::TrialRow row = ToWire(entry->study, trial);
    bytes += row.ByteSizeLong();
    if (response.trials_size() >= limit || (bytes > kMaxAnswerBytes && response.trials_size() > 0)) {
      response.set_more(true);
      break;
    }
    *response.add_trials() = std::move(row);
  }
  return response;
}

absl::StatusOr<v1::TrialDetail> Answer(const Core& core, StudyStore& store,
                                       const v1::GetTrialRequest& request) {
  RUNG_ASSIGN_OR_RETURN(const StudyEntry* const entry, core.FindStudy(request.study()));
  RUNG_ASSIGN_OR_RETURN(const TrialId id, FindTrial(*entry, request.trial()));
  const TrialView& trial = entry->study.trial(id);
  v1::TrialDetail detail;
  *detail.mutable_row() = ToWire(entry->study, trial);
  RUNG_ASSIGN_OR_RETURN(const std::vector<Event> events, store.EventsOf(entry->record.id, id));
  for (const Event& event : events) {
    if (event.kind == EventKind::kTrialCreated) detail.set_origin_json(OriginToText(event.origin));
    v1::EventRow& row = *detail.add_events();
    row.set_seq(event.seq);
    row.set_at_ms(absl::ToUnixMillis(event.at));
    row.set_kind(Name(event.kind));
    row.set_rung(event.job.rung);
    row.set_replicate(event.job.replicate);
    row.set_attempt(event.attempt);
    row.set_text(EventText(event));
    row.set_decision_json(event.decision_json);
    AddAttempt(core.options().dir, entry->record.id, event, detail);
  }
  // One that was released and granted again many times has more of them than a message may hold.
  detail.set_attempts_left_out(DropOldest(*detail.mutable_attempts(), kMaxAttemptRows, kMaxAnswerBytes / 4));
  detail.set_events_left_out(DropOldest(*detail.mutable_events(), kMaxEvents, kMaxAnswerBytes / 2));
  return detail;
}

absl::StatusOr<v1::ListPointsResponse> Answer(const Core& core, StudyStore& store,
                                              const v1::ListPointsRequest& request) {
  RUNG_ASSIGN_OR_RETURN(const StudyEntry* const entry, core.FindStudy(request.study()));
  RUNG_ASSIGN_OR_RETURN(const TrialId id, FindTrial(*entry, request.trial()));
  MetricPoint last;
  if (request.has_after()) {
    const v1::CurvePoint& after = request.after();
    last.key.job = {id, after.rung(), after.replicate(), FromWire(after.kind())};
    last.key.attempt = after.attempt();
    last.step = after.point().step();
    last.name = after.point().metric().name();
  }
  const int limit = request.limit() > 0 ? std::min(request.limit(), kMaxPoints) : kMaxPoints;
  RUNG_ASSIGN_OR_RETURN(
      const std::vector<MetricPoint> points,
      store.PointsOf(entry->record.id, id, request.has_after() ? &last : nullptr, limit + 1));
  v1::ListPointsResponse response;
  size_t bytes = 0;
  for (const MetricPoint& point : points) {
    v1::CurvePoint row;
    row.set_kind(ToWire(point.key.job.kind));
    row.set_rung(point.key.job.rung);
    row.set_replicate(point.key.job.replicate);
    row.set_attempt(point.key.attempt);
    row.mutable_point()->set_step(point.step);
    row.mutable_point()->set_budget(point.budget);
    *row.mutable_point()->mutable_metric() = ToWire(point.name, point.value);
    bytes += row.ByteSizeLong() + kBytesAroundARow;
    if (response.points_size() >= limit || (bytes > kMaxAnswerBytes && response.points_size() > 0)) {
      response.set_more(true);
      break;
    }
    *response.add_points() = std::move(row);
  }
  return response;
}

absl::StatusOr<v1::ListEventsResponse> Answer(const Core& core, StudyStore& store,
                                              const v1::ListEventsRequest& request) {
  RUNG_ASSIGN_OR_RETURN(const StudyEntry* const entry, core.FindStudy(request.study()));
  v1::ListEventsResponse response;
  for (const auto& [path, sha256] : entry->record.data_sha256)
    (*response.mutable_data_sha256())[path] = sha256;
  const int limit = request.limit() > 0 ? std::min(request.limit(), kMaxEvents) : kMaxEvents;
  RUNG_ASSIGN_OR_RETURN(const std::vector<Event> events,
                        store.EventsAfter(entry->record.id, request.after_seq(), limit + 1));
  size_t bytes = 0;
  for (const Event& event : events) {
    std::string text = ToJson(event).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    bytes += text.size();
    if (response.events_size() >= limit || (bytes > kMaxAnswerBytes && response.events_size() > 0)) {
      response.set_more(true);
      break;
    }
    response.add_events(std::move(text));
  }
  return response;
}

absl::StatusOr<v1::ListWorkersResponse> Answer(const Core& core, absl::Duration steady,
                                               const v1::ListWorkersRequest&) {
  v1::ListWorkersResponse response;
  for (const auto& [name, worker] : core.workers()) {
    const Lease* lease = core.leases().OfWorker(name);
    const bool known = worker.present || worker.lost || lease != nullptr || worker.attempts_done > 0;
    if (!known) continue;  // of an earlier term, and not seen since
    v1::WorkerRow& row = *response.add_workers();
    const absl::Duration silence =
        steady - std::max(worker.heard, lease != nullptr ? lease->renewed : worker.heard);
    row.set_name(name);
    row.set_device(worker.record.device);
    row.mutable_process()->set_host(worker.record.host);
    row.mutable_process()->set_boot_id(worker.record.boot_id);
    row.mutable_process()->set_pid(worker.record.pid);
    row.mutable_process()->set_start_time(worker.record.start_time);
    if (lease != nullptr) *row.mutable_attempt() = ToWire(lease->key);
    row.set_seen_seconds_ago(absl::ToDoubleSeconds(silence));
    row.set_attempts_done(worker.attempts_done);
    if (worker.job_ends != absl::InfiniteDuration())
      row.set_job_seconds_left(std::max(absl::ToDoubleSeconds(worker.job_ends - steady), 0.0));
    row.set_message(!worker.message.empty()            ? worker.message
                    : !worker.record.sent_home.empty() ? worker.record.sent_home
                    : lease == nullptr && core.deaths().Excluded(worker.record.host, steady)
                        ? "no work for some minutes: two trials died on its host"
                        : "");
    row.set_state(worker.lost                                                    ? "lost"
                  : lease == nullptr && !worker.present                          ? "gone"
                  : core.options().offline || silence > core.options().lease_ttl ? "suspect"
                  : lease != nullptr                                             ? "busy"
                                                                                 : "idle");
  }
  return response;
}

}  // namespace rung
