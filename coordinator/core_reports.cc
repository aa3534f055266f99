// What workers say of their attempts: progress, reports, releases; fencing.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "coordinator/core.h"
#include "coordinator/payload.h"
#include "proto/wire.h"

namespace rung {
namespace {

// Long enough to cost a node without the data nothing, short enough that a mount that came back is noticed.
constexpr absl::Duration kBlindFor = absl::Minutes(5);

absl::Status BadNumber(const std::string& name, double value) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0655", absl::StrFormat("%s = %g is no amount", name, value), "",
                    absl::StrFormat("%g", value), absl::StrFormat("Send a number from 0 to %g", kMaxAmount)});
}

// A worker's mistake must neither end the coordinator nor spoil its sums.
absl::Status CheckNumbers(const v1::ProgressRequest& request) {
  if (!IsAmount(request.budget())) return BadNumber("budget", request.budget());
  for (const v1::MetricPoint& point : request.points()) {
    if (!IsAmount(point.budget())) return BadNumber("a point's budget", point.budget());
  }
  return absl::OkStatus();
}

absl::Status CheckNumbers(const v1::Result& result) {
  if (!IsAmount(result.charged())) return BadNumber("charged", result.charged());
  if (!IsAmount(result.device_seconds())) return BadNumber("device_seconds", result.device_seconds());
  return absl::OkStatus();
}

absl::Status CheckReport(const v1::ReportRequest& request) {
  if (!request.has_result() && !request.has_failure()) {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0655", "the report has neither a result nor a failure", "", "", "Report one of them"});
  }
  if (!IsAmount(request.checkpoint_budget()))
    return BadNumber("checkpoint_budget", request.checkpoint_budget());
  return request.has_result() ? CheckNumbers(request.result()) : absl::OkStatus();
}

std::string DecisionOf(const std::vector<Event>& events, const Job& job) {
  std::string decision = "waiting";
  for (const Event& event : events) {
    if (event.job.trial != job.trial) continue;
    if (event.kind == EventKind::kPromoted) decision = "promoted";
    if (event.kind == EventKind::kTrialFinished) return Name(event.trial_state);
  }
  return decision;
}

}  // namespace

void Core::On(int64_t ticket, const v1::ProgressRequest& request, const Now& now) {
  WorkerState* worker = Current(request.worker(), request.instance());
  if (worker == nullptr) {
    return Refuse(ticket, NotRegistered(request.worker(), request.instance()));
  }
  worker->heard = now.steady;
  worker->lost = false;
  if (request.job_seconds_left() > 0)
    worker->job_ends = now.steady + absl::Seconds(request.job_seconds_left());
  if (!request.leaving().empty()) worker->message = request.leaving();
  v1::ProgressResponse response;
  response.set_ack(request.seq());
  response.set_term(options_.term);
  response.set_command(Leaves(request.worker()) ? v1::COMMAND_DRAIN : v1::COMMAND_CONTINUE);
  if (!request.has_attempt()) return Answer(ticket, response);
  *response.mutable_attempt() = request.attempt();
  const AttemptKey key = FromWire(request.attempt());
  Lease* lease = leases_.Find(key.study, key.job);
  if (lease == nullptr || lease->key.attempt != key.attempt) {
    response.set_command(v1::COMMAND_LEASE_LOST);
    return Answer(ticket, response);
  }
  if (absl::Status status = CheckNumbers(request); !status.ok()) return Refuse(ticket, std::move(status));
  lease->renewed = now.steady;
  lease->outlived = false;
  for (const v1::MetricPoint& point : request.points()) {
    effects_.batch.points.push_back(
        {key, point.step(), point.budget(), point.metric().name(), FromWire(point.metric())});
  }
  response.set_command(CommandFor(*lease));
  if (request.checkpointed()) {
    StudyEntry& entry = studies_.at(key.study);
    Record(entry, entry.study.OnCheckpoint(key.job, key.attempt, request.budget(), StampOf(now)));
  }
  Answer(ticket, response);
}

// What a report or a release says of the attempt's newest checkpoint, if its own message has not come yet.
void Core::NoteCheckpoint(StudyEntry& entry, const AttemptKey& key, double budget, const Now& now) {
  const auto told = checkpoints_.find(key);
  if (budget <= (told == checkpoints_.end() ? 0 : told->second)) return;
  Record(entry, entry.study.OnCheckpoint(key.job, key.attempt, budget, StampOf(now)));
}

v1::Command Core::CommandFor(const Lease& lease) const {
  if (Leaves(lease.worker)) return v1::COMMAND_DRAIN;
  return studies_.at(lease.key.study).study.Wanted(lease.key.job) ? v1::COMMAND_CONTINUE : v1::COMMAND_STOP;
}

absl::Status Core::CheckAttempt(const AttemptKey& key, bool& already_stored) const {
  already_stored = false;
  const auto entry = studies_.find(key.study);
  if (entry == studies_.end()) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0621", absl::StrFormat("there is no study %d", key.study.value), "",
                      absl::StrFormat("%d", key.study.value), "Stop the attempt"});
  }
  const Lease* lease = leases_.Find(key.study, key.job);
  if (lease != nullptr && lease->key.attempt == key.attempt) return absl::OkStatus();
  if (entry->second.study.Has(key.job.trial) && key.job.kind == AttemptKind::kTrain) {
    const TrialView& trial = entry->second.study.trial(key.job.trial);
    const auto rung = trial.rungs.find(key.job.rung);
    const auto replicate = static_cast<size_t>(key.job.replicate);
    if (rung != trial.rungs.end() && replicate < rung->second.replicates.size()) {
      const ReplicateView& view = rung->second.replicates[replicate];
      already_stored =
          view.result.has_value() && view.result_attempt == key.attempt && !view.copied_from.has_value();
      if (already_stored) return absl::OkStatus();
    }
  }
  return MakeError(absl::StatusCode::kAborted,
                   {"E0650",
                    absl::StrFormat("attempt %d of %d/%d no longer holds its lease", key.attempt,
                                    key.study.value, key.job.trial.value),
                    "", absl::StrFormat("%d", key.attempt), "Stop the attempt and ask for other work"});
}

// A result that was on its way, or in a spool, while its attempt was given up for lost.
bool Core::IsWantedLate(const AttemptKey& key) const {
  const auto entry = studies_.find(key.study);
  return entry != studies_.end() && leases_.Find(key.study, key.job) == nullptr &&
         entry->second.study.TakesLate(key.job, key.attempt);
}

// The end of an attempt: a result, a loss or a failure.
std::vector<Event> Core::EventsOf(StudyEntry& entry, const AttemptKey& key, const v1::ReportRequest& request,
                                  const Now& now) {
  if (request.has_result())
    return entry.study.OnResult(key.job, key.attempt, FromWire(request.result()), StampOf(now));
  const v1::Failure& failure = request.failure();
  if (failure.cause() == v1::FAILURE_CAUSE_INFRASTRUCTURE) {
    NoteDeath(key, now);
    return entry.study.OnLoss(key.job, key.attempt, LossReason::kKilled, failure.message(), StampOf(now),
                              SpentOf(key, now.steady));
  }
  return entry.study.OnFailure(key.job, key.attempt, FromWire(failure.cause()), failure.message(),
                               StampOf(now), SpentOf(key, now.steady));
}

void Core::On(int64_t ticket, const v1::ReportRequest& request, const Now& now) {
  const std::string sha256 = PayloadSha256(request);
  if (Repeated(ticket, request, sha256)) return;
  const AttemptKey key = FromWire(request.attempt());
  bool already_stored = false;
  absl::Status fenced = CheckAttempt(key, already_stored);
  const bool late = !fenced.ok() && request.has_result() && IsWantedLate(key);
  if (!fenced.ok() && !late) return Refuse(ticket, std::move(fenced));
  v1::ReportResponse response;
  response.set_accepted(true);
  response.set_term(options_.term);
  if (already_stored) {
    response.set_decision("stored");
    return Answer(ticket, response);
  }
  if (absl::Status status = CheckReport(request); !status.ok()) return Refuse(ticket, std::move(status));
  StudyEntry& entry = studies_.at(key.study);
  NoteCheckpoint(entry, key, request.checkpoint_budget(), now);
  std::vector<Event> events = EventsOf(entry, key, request, now);
  response.set_decision(DecisionOf(events, key.job));
  Record(entry, std::move(events));
  WorkerState* worker = Current(request.worker(), request.instance());
  if (worker != nullptr) {
    worker->heard = now.steady;
    ++worker->attempts_done;
  }
  // The stored answer names the next attempt only; it is filled in again if the request is repeated.
  v1::ReportResponse stored = response;
  if (request.want_next() && worker != nullptr && !Leaves(request.worker())) {
    v1::IdleReason idle = v1::IDLE_REASON_WAIT;
    if (const Lease* next = GrantTo(request.worker(), now, idle); next != nullptr) {
      *response.mutable_next() = AttemptOf(*next);
      *stored.mutable_next()->mutable_key() = response.next().key();
    }
  }
  Remember(request.request_id(), sha256, stored.SerializeAsString());
  Answer(ticket, response);
}

void Core::AnswerStored(int64_t ticket, const v1::ReportRequest& request, const std::string& answer) {
  v1::ReportResponse response;
  RUNG_CHECK(response.ParseFromString(answer), "a stored answer is readable");
  response.set_term(options_.term);
  if (response.has_next()) {
    const AttemptKey key = FromWire(response.next().key());
    const Lease* lease = leases_.Find(key.study, key.job);
    const bool held = lease != nullptr && lease->key == key && lease->worker == request.worker();
    response.clear_next();
    if (held) *response.mutable_next() = AttemptOf(*lease);
  }
  Answer(ticket, response);
}

void Core::On(int64_t ticket, const v1::ReleaseRequest& request, const Now& now) {
  const std::string sha256 = PayloadSha256(request);
  if (Repeated(ticket, request, sha256)) return;
  const AttemptKey key = FromWire(request.attempt());
  bool already_stored = false;
  if (absl::Status status = CheckAttempt(key, already_stored); !status.ok())
    return Refuse(ticket, std::move(status));
  if (!IsAmount(request.checkpoint_budget()))
    return Refuse(ticket, BadNumber("checkpoint_budget", request.checkpoint_budget()));
  v1::ReleaseResponse response;
  response.set_term(options_.term);
  if (!already_stored) {
    StudyEntry& entry = studies_.at(key.study);
    const LossReason reason =
        request.reason() == v1::LOSS_REASON_UNSPECIFIED ? LossReason::kReleased : FromWire(request.reason());
    NoteCheckpoint(entry, key, request.checkpoint_budget(), now);
    const Spent spent = SpentOf(key, now.steady);
    // Nothing is wrong with the data as long as another worker may read them.
    const bool bad_data = request.data_unreadable() && !LeaveToOthers(request.worker(), key.study, now);
    // An evaluation is also given back where its checkpoint is missing: no machine's fault.
    const bool died = reason != LossReason::kReleased && key.job.kind == AttemptKind::kTrain;
    if (!bad_data && died) NoteDeath(key, now);
    Record(entry, bad_data ? entry.study.OnFailure(key.job, key.attempt, FailureCause::kBadData,
                                                   request.message(), StampOf(now), spent)
                           : entry.study.OnLoss(key.job, key.attempt, reason, request.message(), StampOf(now),
                                                spent));
    Remember(request.request_id(), sha256, response.SerializeAsString());
  }
  Answer(ticket, response);
}

void Core::AnswerStored(int64_t ticket, const v1::ReleaseRequest&, const std::string&) {
  v1::ReleaseResponse response;
  response.set_term(options_.term);
  Answer(ticket, response);
}

Spent Core::SpentOf(const AttemptKey& key, absl::Duration until) const {
  const Lease* lease = leases_.Find(key.study, key.job);
  RUNG_CHECK(lease != nullptr && lease->key == key, "an attempt that ends holds its lease");
  Spent spent;
  spent.device_seconds = absl::ToDoubleSeconds(std::max(until - lease->began, absl::ZeroDuration()));
  const auto reached = checkpoints_.find(key);
  if (reached != checkpoints_.end()) spent.charged = std::max(reached->second - lease->budget_from, 0.0);
  return spent;
}

// The worker gets none of this study's attempts for a while. False where that would leave none to run them.
bool Core::LeaveToOthers(const std::string& name, StudyId study, const Now& now) {
  const auto worker = workers_.find(name);
  if (worker == workers_.end()) return true;
  worker->second.blind_until[study] = now.steady + kBlindFor;
  if (std::any_of(workers_.begin(), workers_.end(), [&](const auto& other) {
        return other.second.present && !other.second.lost && !IsBlind(other.second, study, now);
      })) {
    return true;
  }
  for (auto& [other, state] : workers_) state.blind_until.erase(study);  // who resumes it has mended the data
  return false;
}

bool Core::IsBlind(const WorkerState& worker, StudyId study, const Now& now) {
  const auto until = worker.blind_until.find(study);
  return until != worker.blind_until.end() && now.steady < until->second;
}

// Too much died on its host, or what runs there is to run alone.
bool Core::IsHeldBack(const WorkerState& worker, const Now& now) const {
  const std::string& host = worker.record.host;
  if (deaths_.Excluded(host, now.steady)) return true;
  for (const auto& [study, trial] : deaths_.suspects()) {
    auto next = leases_.all().lower_bound({study, Job{trial}});
    for (; next != leases_.all().end(); ++next) {
      const auto& [key, lease] = *next;
      if (key.first != study || key.second.trial != trial) break;
      const auto holder = workers_.find(lease.worker);
      if (holder != workers_.end() && holder->second.record.host == host) return true;
    }
  }
  return false;
}

// It may get nothing where another would get something.
bool Core::IsPassedOver(const WorkerState& worker, const Now& now) const {
  return IsHeldBack(worker, now) ||
         std::any_of(worker.blind_until.begin(), worker.blind_until.end(),
                     [&now](const auto& until) { return now.steady < until.second; });
}

// The attempt, whose lease still stands, is lost with its machine, or took it along.
void Core::NoteDeath(const AttemptKey& key, const Now& now) {
  const Lease* lease = leases_.Find(key.study, key.job);
  RUNG_CHECK(lease != nullptr && lease->key == key, "an attempt that ends holds its lease");
  const auto worker = workers_.find(lease->worker);
  if (worker == workers_.end() || lease->outlived) return;
  deaths_.Add({key.study, key.job.trial}, worker->second.record.host, now.steady);
  const bool any_left = std::any_of(workers_.begin(), workers_.end(), [&](const auto& other) {
    return other.second.present && !other.second.lost &&
           !deaths_.Excluded(other.second.record.host, now.steady);
  });
  if (!any_left) deaths_.PardonHosts();
}

void Core::Lose(const Lease& lease, const std::string& why, const Now& now) {
  const AttemptKey key = lease.key;  // the lease itself goes with the event
  StudyEntry& entry = studies_.at(key.study);
  const Spent spent = SpentOf(key, lease.renewed);
  // It may have died with that coordinator: that says nothing about machines or the trial.
  const LossReason reason = lease.outlived ? LossReason::kOutage : LossReason::kLost;
  Record(entry, entry.study.OnLoss(key.job, key.attempt, reason, why, StampOf(now), spent));
}

void Core::LoseWorker(WorkerState& worker, const std::string& why, const Now& now) {
  worker.present = false;
  worker.streams = 0;
  const Lease* lease = leases_.OfWorker(worker.record.name);
  if (lease == nullptr) return;
  NoteDeath(lease->key, now);
  Lose(*lease, why, now);
}

}  // namespace rung
