// Leases: granting, progress, reports, losses, and what waits for them.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "coordinator/core.h"
#include "coordinator/payload.h"
#include "proto/wire.h"
#include "search/space.h"

namespace rung {
namespace {

absl::Status NotRegistered(const std::string& worker, const std::string& instance) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {"E0652", absl::StrFormat("worker %s is not registered with this instance", worker), "",
                    instance, "Register again"});
}

constexpr int kLostAfterTtls = 3;

std::string DecisionOf(const std::vector<Event>& events, const Job& job) {
  std::string decision = "waiting";
  for (const Event& event : events) {
    if (event.job.trial != job.trial) continue;
    if (event.kind == EventKind::kPromoted) decision = "promoted";
    if (event.kind == EventKind::kTrialFinished) return Name(event.trial_state);
  }
  return decision;
}

bool Ended(TrialState state) {
  return state == TrialState::kFailed || state == TrialState::kStopped;
}

}  // namespace

Stamp Core::StampOf(const Now& now) {
  // The store keeps microseconds: memory must not know more than what a reload gives.
  return Stamp{absl::FromUnixMicros(absl::ToUnixMicros(now.wall)), next_seq_};
}

void Core::Record(StudyEntry& entry, std::vector<Event> events) {
  for (Event& event : events) {
    Index(entry, event);
    FindObsolete(entry, event);
    effects_.batch.events.push_back({entry.record.id, std::move(event)});
    changed_ = true;
  }
}

void Core::Index(StudyEntry& entry, const Event& event) {
  const AttemptKey key{entry.record.id, event.job, event.attempt};
  const bool copied = event.copied_from.has_value();
  switch (event.kind) {
    case EventKind::kAttemptLost:
      leases_.Remove(key);
      break;
    case EventKind::kCheckpoint:
      checkpoints_[key] = event.result.charged;
      break;
    case EventKind::kResult:
      if (copied) copy_sources_.emplace(event.copied_from->study, event.copied_from->job.trial);
      if (!copied && !event.identity.empty()) {
        int64_t checkpoint = event.attempt;
        if (key.job.kind == AttemptKind::kTrain) {
          const RungView& rung = entry.study.trial(key.job.trial).rungs.at(key.job.rung);
          checkpoint = rung.replicates.at(static_cast<size_t>(key.job.replicate)).checkpoint_attempt;
        }
        known_.emplace(event.identity, Known{CopiedFrom{key.study, key.job}, event.result, checkpoint});
      }
      [[fallthrough]];
    case EventKind::kAttemptFailed: {
      if (!copied) leases_.Remove(key);
      auto first = checkpoints_.lower_bound(AttemptKey{key.study, key.job, 0});
      while (first != checkpoints_.end() && first->first.study == key.study && first->first.job == key.job) {
        first = checkpoints_.erase(first);
      }
      break;
    }
    case EventKind::kStudyState:
      entry.finished_at = IsFinished(event.study_state) ? event.at : absl::InfinitePast();
      break;
    case EventKind::kTrialCreated:
    case EventKind::kAttemptGranted:
    case EventKind::kPromoted:
    case EventKind::kTrialFinished:
      break;
  }
}

// Pinned are: the rung-end checkpoint of a trial that is still on its way, completed trials, the incumbent,
// and what another trial's copied result points to.
void Core::FindObsolete(const StudyEntry& entry, const Event& event) {
  const StudyId study = entry.record.id;
  const TrialId trial = event.job.trial;
  if (trial.value == 0 || copy_sources_.contains({study, trial})) return;
  const std::string root = absl::StrFormat("%s/checkpoints/%d", options_.dir.study(study.value), trial.value);
  if (event.kind == EventKind::kResult && event.job.kind == AttemptKind::kTrain &&
      !event.copied_from.has_value()) {
    // Until every replicate has its result, the score, and so an evaluation, is the lower rung's.
    const std::map<int, RungView>& rungs = entry.study.trial(trial).rungs;
    const auto reached = rungs.find(event.job.rung);
    const bool scored = reached != rungs.end() && reached->second.score.has_value();
    for (int rung = 0; scored && rung < event.job.rung; ++rung) {
      effects_.obsolete.push_back(absl::StrFormat("%s/%d", root, rung));
    }
    const auto replicate = static_cast<size_t>(event.job.replicate);
    for (int64_t attempt = 1; attempt < event.attempt; ++attempt) {
      if (reached != rungs.end() && reached->second.replicates.at(replicate).checkpoint_attempt == attempt)
        continue;
      effects_.obsolete.push_back(
          options_.dir.checkpoints(study.value, trial.value, event.job.rung, event.job.replicate, attempt));
    }
  }
  const bool ends = event.kind == EventKind::kTrialFinished || event.kind == EventKind::kAttemptLost;
  if (!ends || !Ended(entry.study.trial(trial).state)) return;
  const TrialView& view = entry.study.trial(trial);
  if (view.origin.source == Origin::Source::kEnqueued && view.bracket < 0)
    return;  // may be evaluated at the end
  const auto incumbent = entry.study.incumbent();
  if (incumbent.has_value() && incumbent->trial == trial) return;
  const bool running = std::any_of(leases_.all().begin(), leases_.all().end(), [&](const auto& item) {
    return item.first.first == study && item.first.second.trial == trial;
  });
  if (!running) effects_.obsolete.push_back(root);
}

Lease Core::MakeLease(const StudyEntry& entry, const Job& job, int64_t attempt,
                      const std::string& worker) const {
  Lease lease;
  lease.key = AttemptKey{entry.record.id, job, attempt};
  lease.worker = worker;
  lease.identity = entry.study.Identity(job);
  const std::vector<double> budgets = entry.study.spec().RungBudgets();
  if (job.kind == AttemptKind::kEvaluate) lease.budget_from = budgets.at(static_cast<size_t>(job.rung));
  const auto resume = entry.study.ResumeFrom(job);
  if (!resume.has_value()) return lease;
  lease.resume_dir = options_.dir.checkpoints(resume->study.value, resume->trial.value, resume->rung,
                                              resume->replicate, resume->attempt);
  if (job.kind == AttemptKind::kEvaluate) return lease;
  if (resume->rung < job.rung) {
    lease.budget_from = budgets.at(static_cast<size_t>(resume->rung));
    return lease;
  }
  const auto reached = checkpoints_.find(AttemptKey{entry.record.id, job, resume->attempt});
  if (reached != checkpoints_.end()) lease.budget_from = reached->second;
  return lease;
}

v1::Attempt Core::AttemptOf(const Lease& lease) const {
  const StudyEntry& entry = studies_.at(lease.key.study);
  const StudySpec& spec = entry.study.spec();
  const AttemptKey& key = lease.key;
  const bool evaluate = key.job.kind == AttemptKind::kEvaluate;
  const int64_t study = key.study.value;
  const int64_t trial = key.job.trial.value;
  v1::Attempt attempt;
  *attempt.mutable_key() = ToWire(key);
  attempt.set_study_name(spec.name);
  attempt.set_study_json(entry.record.canonical_json);
  attempt.set_config_json(CanonicalJson(entry.study.trial(key.job.trial).config));
  attempt.set_seed(spec.SeedOf(key.job.replicate));
  attempt.set_fold(spec.FoldOf(key.job.replicate).value_or(-1));
  attempt.set_budget_from(lease.budget_from);
  attempt.set_budget_to(spec.RungBudgets().at(static_cast<size_t>(key.job.rung)));
  attempt.set_resume_dir(lease.resume_dir);
  // An evaluation writes no checkpoint; its directory lies apart so that it never mixes with the trained one.
  const std::string outputs =
      options_.dir.outputs(study, trial, key.job.rung, key.job.replicate, evaluate, key.attempt);
  attempt.set_output_dir(outputs);
  attempt.set_checkpoint_dir(
      evaluate ? outputs + "/checkpoint"
               : options_.dir.checkpoints(study, trial, key.job.rung, key.job.replicate, key.attempt));
  attempt.set_log_path(
      options_.dir.attempt_log(study, trial, key.job.rung, key.job.replicate, evaluate, key.attempt));
  for (const auto& [name, path] : entry.record.inputs) (*attempt.mutable_inputs())[name] = path;
  for (const auto& [path, sha256] : entry.record.data_sha256) (*attempt.mutable_data_sha256())[path] = sha256;
  attempt.set_lease_ttl_seconds(absl::ToDoubleSeconds(options_.lease_ttl));
  return attempt;
}

Lease* Core::GrantTo(const std::string& worker, const Now& now, v1::IdleReason& idle) {
  bool waits = studies_.empty();
  bool paused = false;
  for (auto& [id, entry] : studies_) {
    Decision decision = entry.study.NextWork(*this, StampOf(now));
    Record(entry, std::move(decision.events));
    if (decision.job.has_value()) {
      const Event granted = entry.study.Grant(*decision.job, worker, StampOf(now));
      Lease lease = MakeLease(entry, *decision.job, granted.attempt, worker);
      lease.renewed = now.steady;
      Record(entry, {granted});
      return &leases_.Add(std::move(lease));
    }
    waits = waits || decision.idle == Idle::kWait;
    paused = paused || decision.idle == Idle::kPaused;
  }
  idle = waits ? v1::IDLE_REASON_WAIT : paused ? v1::IDLE_REASON_PAUSED : v1::IDLE_REASON_STUDY_DONE;
  return nullptr;
}

void Core::On(int64_t ticket, const v1::LeaseRequest& request, const Now& now) {
  WorkerState* worker = Current(request.worker(), request.instance());
  if (worker == nullptr) {
    return Refuse(ticket, NotRegistered(request.worker(), request.instance()));
  }
  worker->heard = now.steady;
  worker->lost = false;
  const double seconds = std::clamp(request.wait_seconds(), 0.0, kMaxWaitSeconds);
  waiting_.push_back(
      {ticket, now.steady + absl::Seconds(seconds), request.worker(), request.instance(), {}, 0});
  changed_ = true;
}

void Core::SettleWaiting(const Now& now) {
  bool may_grant = changed_ && !options_.offline && !draining_;
  v1::IdleReason idle = v1::IDLE_REASON_WAIT;
  std::deque<Waiting> still;
  for (Waiting& call : waiting_) {
    WorkerState* worker = Current(call.worker, call.instance);
    v1::LeaseResponse response;
    response.set_term(options_.term);
    const Lease* lease = nullptr;
    if (worker != nullptr && !draining_) {
      // A worker that asks runs nothing: if it holds an attempt, the answer was lost on its way, so it gets
      // it again.
      lease = leases_.OfWorker(call.worker);
      if (lease == nullptr && may_grant) lease = GrantTo(call.worker, now, idle);
      may_grant = may_grant && lease != nullptr;
    }
    const bool done = options_.exit_when_done && AllFinished();
    if (worker == nullptr) {
      Refuse(call.ticket, absl::AbortedError("a newer process of this worker registered"));
    } else if (lease != nullptr) {
      leases_.OfWorker(call.worker)->renewed = now.steady;
      *response.mutable_attempt() = AttemptOf(*lease);
      Answer(call.ticket, response);
    } else if (draining_ || done || now.steady >= call.until) {
      worker->told_done = draining_ || done || AllFinished();
      response.set_idle(draining_       ? v1::IDLE_REASON_DRAINED
                        : AllFinished() ? v1::IDLE_REASON_STUDY_DONE
                                        : idle);
      Answer(call.ticket, response);
    } else {
      still.push_back(std::move(call));
    }
  }
  waiting_ = std::move(still);
}

void Core::On(int64_t ticket, const v1::ProgressRequest& request, const Now& now) {
  WorkerState* worker = Current(request.worker(), request.instance());
  if (worker == nullptr) {
    return Refuse(ticket, NotRegistered(request.worker(), request.instance()));
  }
  worker->heard = now.steady;
  worker->lost = false;
  v1::ProgressResponse response;
  response.set_ack(request.seq());
  response.set_term(options_.term);
  response.set_command(draining_ ? v1::COMMAND_DRAIN : v1::COMMAND_CONTINUE);
  if (!request.has_attempt()) return Answer(ticket, response);
  *response.mutable_attempt() = request.attempt();
  const AttemptKey key = FromWire(request.attempt());
  Lease* lease = leases_.Find(key.study, key.job);
  if (lease == nullptr || lease->key.attempt != key.attempt) {
    response.set_command(v1::COMMAND_LEASE_LOST);
    return Answer(ticket, response);
  }
  lease->renewed = now.steady;
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

v1::Command Core::CommandFor(const Lease& lease) const {
  if (draining_) return v1::COMMAND_DRAIN;
  if (asked_to_stop_.contains(lease.key.study)) return v1::COMMAND_STOP;
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
  const std::vector<TrialId> trials = entry->second.study.trials();
  if (std::find(trials.begin(), trials.end(), key.job.trial) != trials.end() &&
      key.job.kind == AttemptKind::kTrain) {
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

void Core::On(int64_t ticket, const v1::ReportRequest& request, const Now& now) {
  const std::string sha256 = PayloadSha256(request);
  if (Repeated(ticket, request, sha256)) return;
  const AttemptKey key = FromWire(request.attempt());
  bool already_stored = false;
  if (absl::Status status = CheckAttempt(key, already_stored); !status.ok())
    return Refuse(ticket, std::move(status));
  v1::ReportResponse response;
  response.set_accepted(true);
  response.set_term(options_.term);
  if (already_stored) {
    response.set_decision("stored");
    return Answer(ticket, response);
  }
  if (!request.has_result() && !request.has_failure()) {
    return Refuse(ticket, MakeError(absl::StatusCode::kInvalidArgument,
                                    {"E0655", "the report has neither a result nor a failure", "", "",
                                     "Report one of them"}));
  }
  StudyEntry& entry = studies_.at(key.study);
  std::vector<Event> events;
  if (request.has_result()) {
    events = entry.study.OnResult(key.job, key.attempt, FromWire(request.result()), StampOf(now));
  } else if (request.failure().cause() == v1::FAILURE_CAUSE_INFRASTRUCTURE) {
    events = entry.study.OnLoss(key.job, key.attempt, LossReason::kKilled, StampOf(now));
  } else {
    events = entry.study.OnFailure(key.job, key.attempt, FromWire(request.failure().cause()),
                                   request.failure().message(), StampOf(now));
  }
  response.set_decision(DecisionOf(events, key.job));
  Record(entry, std::move(events));
  WorkerState* worker = Current(request.worker(), request.instance());
  if (worker != nullptr) {
    worker->heard = now.steady;
    ++worker->attempts_done;
  }
  // The stored answer names the next attempt only; it is filled in again if the request is repeated.
  v1::ReportResponse stored = response;
  if (request.want_next() && worker != nullptr && !draining_ && !options_.offline) {
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
  v1::ReleaseResponse response;
  response.set_term(options_.term);
  if (!already_stored) {
    StudyEntry& entry = studies_.at(key.study);
    const LossReason reason =
        request.reason() == v1::LOSS_REASON_UNSPECIFIED ? LossReason::kReleased : FromWire(request.reason());
    Record(entry, entry.study.OnLoss(key.job, key.attempt, reason, StampOf(now)));
    Remember(request.request_id(), sha256, response.SerializeAsString());
  }
  Answer(ticket, response);
}

void Core::AnswerStored(int64_t ticket, const v1::ReleaseRequest&, const std::string&) {
  v1::ReleaseResponse response;
  response.set_term(options_.term);
  Answer(ticket, response);
}

void Core::Lose(const Lease& lease, LossReason reason, const Now& now) {
  const AttemptKey key = lease.key;  // the lease itself goes with the event
  StudyEntry& entry = studies_.at(key.study);
  Record(entry, entry.study.OnLoss(key.job, key.attempt, reason, StampOf(now)));
}

void Core::LoseWorker(WorkerState& worker, LossReason reason, const Now& now) {
  worker.present = false;
  worker.streams = 0;
  if (const Lease* lease = leases_.OfWorker(worker.record.name); lease != nullptr) Lose(*lease, reason, now);
}

void Core::SettleLeases(const Now& now) {
  for (const Lease& lease : leases_.SilentSince(now.steady - kLostAfterTtls * options_.lease_ttl)) {
    if (const auto worker = workers_.find(lease.worker); worker != workers_.end()) {
      worker->second.lost = true;
      worker->second.present = false;
    }
    Lose(lease, LossReason::kLost, now);
  }
  if (!changed_) return;
  for (auto& [key, lease] : leases_.all()) {
    const v1::Command command = CommandFor(lease);
    if (command == v1::COMMAND_CONTINUE || lease.stop_sent) continue;
    lease.stop_sent = true;
    v1::ProgressResponse response;
    response.set_command(command);
    response.set_term(options_.term);
    *response.mutable_attempt() = ToWire(lease.key);
    effects_.pushes.push_back({lease.worker, std::move(response)});
  }
}

}  // namespace rung
