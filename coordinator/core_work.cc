// Leases: granting them, waiting for them, their end by silence; what every event means for them.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "coordinator/core.h"
#include "proto/wire.h"
#include "search/space.h"

namespace rung {
namespace {

constexpr int kLostAfterTtls = 3;
// Of the workers that nothing can come for, so many stay in case that a working one dies with its attempt.
constexpr int64_t kSpareWorkers = 1;

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
  const TrialId before = entry.incumbent;
  NoteIncumbent(entry);
  if (before.value != 0 && before != entry.incumbent && Unneeded(entry, before)) {
    Drop(entry, before, std::nullopt, effects_.obsolete);
  }
}

void Core::NoteIncumbent(StudyEntry& entry) {
  const auto incumbent = entry.study.incumbent();
  if (incumbent.has_value()) entry.incumbent = incumbent->trial;
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
      deaths_.GotOn({key.study, key.job.trial});
      break;
    case EventKind::kResult:
      deaths_.GotOn({key.study, key.job.trial});
      if (copied && key.job.kind == AttemptKind::kTrain) {
        pins_.emplace(event.copied_from->study, event.copied_from->job);
      }
      if (!copied && !event.identity.empty()) known_[event.identity].emplace_back(key.study, key.job);
      [[fallthrough]];
    case EventKind::kAttemptFailed: {
      if (!copied) leases_.Remove(key);
      if (event.kind == EventKind::kAttemptFailed && event.cause == FailureCause::kBadData) break;  // goes on
      auto first = checkpoints_.lower_bound(AttemptKey{key.study, key.job, 0});
      while (first != checkpoints_.end() && first->first.study == key.study && first->first.job == key.job) {
        first = checkpoints_.erase(first);
      }
      break;
    }
    case EventKind::kStudyState:
      entry.finished_at = IsFinished(event.study_state) ? event.at : absl::InfinitePast();
      break;
    case EventKind::kTrialFinished:
      if (event.trial_state == TrialState::kFailed && event.cause == FailureCause::kInfrastructure) {
        deaths_.GivenUp({key.study, key.job.trial});
      } else {
        deaths_.GotOn({key.study, key.job.trial});
      }
      break;
    case EventKind::kTrialCreated:
    case EventKind::kAttemptGranted:
    case EventKind::kPromoted:
      break;
  }
}

Lease Core::MakeLease(const StudyEntry& entry, const Job& job, int64_t attempt,
                      const std::string& worker) const {
  Lease lease;
  lease.key = AttemptKey{entry.record.id, job, attempt};
  lease.worker = worker;
  const std::vector<double> budgets = entry.study.spec().RungBudgets();
  if (job.kind == AttemptKind::kEvaluate) lease.budget_from = budgets.at(static_cast<size_t>(job.rung));
  const auto resume = entry.study.ResumeFrom(job);
  if (!resume.has_value()) return lease;
  lease.resume_dir = options_.dir.checkpoints(resume->study.value, resume->trial.value, resume->rung,
                                              resume->replicate, resume->attempt);
  if (job.kind == AttemptKind::kEvaluate) return lease;
  if (resume->stands_for < job.rung) {
    lease.budget_from = budgets.at(static_cast<size_t>(resume->stands_for));
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

// The order in which a free worker serves them: who has the fewest attempts at work, then who waited longest.
// So a new study is not kept waiting by one that runs for days.
std::vector<StudyId> Core::StudiesByTurn() const {
  std::vector<StudyId> order;
  for (const auto& [id, entry] : studies_) order.push_back(id);
  if (order.size() < 2) return order;  // every grant comes by here: thousands of leases need not be counted
  std::map<StudyId, int> running;
  for (const auto& [key, lease] : leases_.all()) ++running[key.first];
  std::stable_sort(order.begin(), order.end(), [&](StudyId a, StudyId b) {
    return std::make_pair(running[a], studies_.at(a).served) <
           std::make_pair(running[b], studies_.at(b).served);
  });
  return order;
}

Lease* Core::GrantTo(const std::string& worker, const Now& now, v1::IdleReason& idle) {
  bool waits = studies_.empty();
  bool paused = false;
  const WorkerState& asking = workers_.at(worker);
  if (IsHeldBack(asking, now)) {
    idle = v1::IDLE_REASON_WAIT;
    return nullptr;
  }
  for (const StudyId id : StudiesByTurn()) {
    StudyEntry& entry = studies_.at(id);
    if (IsBlind(asking, id, now)) {
      waits = true;
      continue;
    }
    Decision decision = entry.study.NextWork(*this, StampOf(now));
    Record(entry, std::move(decision.events));
    if (decision.job.has_value()) {
      entry.served = ++grants_;
      const Event granted = entry.study.Grant(*decision.job, worker, StampOf(now));
      Lease lease = MakeLease(entry, *decision.job, granted.attempt, worker);
      lease.renewed = lease.began = now.steady;
      Record(entry, {granted});
      Lease& added = leases_.Add(std::move(lease));
      leases_.Identify(added, entry.study.Identity(*decision.job));
      return &added;
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
  waiting_.push_back({ticket,
                      now.steady + absl::Seconds(seconds),
                      request.worker(),
                      request.instance(),
                      {},
                      0,
                      request.leaves_if_surplus()});
  changed_ = true;
}

void Core::SettleWaiting(const Now& now) {
  bool may_grant = changed_ && !draining_;
  v1::IdleReason idle = v1::IDLE_REASON_WAIT;
  std::deque<Waiting> still;
  for (Waiting& call : waiting_) {
    WorkerState* worker = Current(call.worker, call.instance);
    v1::LeaseResponse response;
    response.set_term(options_.term);
    const Lease* lease = nullptr;
    const bool leaves = Leaves(call.worker);
    if (worker != nullptr && !leaves) {
      // A worker that asks runs nothing: if it holds an attempt, the answer was lost on its way, so it gets
      // it again.
      lease = leases_.OfWorker(call.worker);
      if (lease == nullptr && may_grant) lease = GrantTo(call.worker, now, idle);
      // Where one gets nothing the next gets nothing either, but for a worker that is passed over.
      may_grant = may_grant && (lease != nullptr || IsPassedOver(*worker, now));
    }
    const bool done = options_.exit_when_done && AllFinished();
    if (worker == nullptr) {
      Refuse(call.ticket, absl::AbortedError("a newer process of this worker registered"));
    } else if (lease != nullptr) {
      Lease* held = leases_.OfWorker(call.worker);
      held->renewed = now.steady;
      held->outlived = false;
      *response.mutable_attempt() = AttemptOf(*lease);
      Answer(call.ticket, response);
    } else if (leaves || done || now.steady >= call.until) {
      worker->told_done = leaves || done || AllFinished();
      response.set_idle(leaves ? v1::IDLE_REASON_DRAINED : AllFinished() ? v1::IDLE_REASON_STUDY_DONE : idle);
      Answer(call.ticket, response);
    } else {
      still.push_back(std::move(call));
    }
  }
  waiting_ = std::move(still);
  if (changed_ && !draining_) SendSurplusHome(now);
}

// How many more wait than can ever get an attempt. A worker that is passed over is not counted on.
int64_t Core::Surplus(const Now& now) const {
  if (studies_.empty() || AllFinished()) return 0;
  int64_t places = kSpareWorkers - static_cast<int64_t>(leases_.all().size());
  for (const auto& [id, entry] : studies_) {
    const std::optional<int64_t> most = entry.study.MostAtOnce();
    if (!most.has_value()) return 0;
    places += *most;
  }
  const auto wait = std::count_if(waiting_.begin(), waiting_.end(), [&](const Waiting& call) {
    return !IsPassedOver(workers_.at(call.worker), now);
  });
  return wait - std::max<int64_t>(places, 0);
}

void Core::SendSurplusHome(const Now& now) {
  const bool any = std::any_of(waiting_.begin(), waiting_.end(),
                               [](const Waiting& call) { return call.leaves_if_surplus; });
  if (!any) return;
  int64_t surplus = Surplus(now);
  for (auto call = waiting_.end(); call != waiting_.begin() && surplus > 0;) {
    --call;
    if (!call->leaves_if_surplus || IsPassedOver(workers_.at(call->worker), now)) continue;
    v1::LeaseResponse response;
    response.set_term(options_.term);
    response.set_idle(v1::IDLE_REASON_SURPLUS);
    Answer(call->ticket, response);
    call = waiting_.erase(call);
    --surplus;
  }
}

void Core::AskForCheckpoints(StudyId study) {
  for (const auto& [key, lease] : leases_.all()) {
    if (key.first == study) PushCommand(lease, v1::COMMAND_CHECKPOINT);
  }
}

void Core::PushCommand(const Lease& lease, v1::Command command) {
  v1::ProgressResponse response;
  response.set_command(command);
  response.set_term(options_.term);
  *response.mutable_attempt() = ToWire(lease.key);
  effects_.pushes.push_back({lease.worker, std::move(response)});
}

void Core::SettleLeases(const Now& now) {
  for (const Lease& lease : leases_.SilentSince(now.steady - kLostAfterTtls * options_.lease_ttl)) {
    if (const auto worker = workers_.find(lease.worker); worker != workers_.end()) {
      worker->second.lost = true;
      worker->second.present = false;
    }
    NoteDeath(lease.key, now);
    Lose(lease, "its worker was silent", now);
  }
  if (!changed_) return;
  for (auto& [key, lease] : leases_.all()) {
    const v1::Command command = CommandFor(lease);
    if (command == v1::COMMAND_CONTINUE || lease.stop_sent) continue;
    lease.stop_sent = true;
    PushCommand(lease, command);
  }
}

}  // namespace rung
