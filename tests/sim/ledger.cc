#include "tests/sim/ledger.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/strings/str_format.h"
#include "coordinator/reads.h"
#include "proto/wire.h"
#include "search/event_json.h"

namespace rung::sim {
namespace {

constexpr double kTolerance = 1e-6;
constexpr size_t kFewTrials = 200;  // with more, looking at all of them after each step takes too long
constexpr int kTrialsOfPage = 7, kEventsOfPage = 100;

std::string Text(StudyId study, const Job& job) {
  return absl::StrFormat("%d/%d rung %d replicate %d", study.value, job.trial.value, job.rung, job.replicate);
}

}  // namespace

double Ledger::Score(const std::string& line, double budget) {
  const size_t hash = std::hash<std::string>()(line + absl::StrFormat(" %.6f", budget));
  return static_cast<double>(hash % 1'000'003) / 1'000'003.0;
}

std::string Ledger::LineOf(const v1::Attempt& attempt) {
  return absl::StrFormat("%s seed %d", attempt.config_json(), attempt.seed());
}

void Ledger::Breach(const std::string& what) {
  if (!breach_.has_value()) breach_ = what;
}

void Ledger::OnCommit(const Batch& batch, bool draining) {
  for (const StudyRecord& record : batch.studies) {
    studies_[record.id].replicates = StudySpec::Parse(record.canonical_json, "", "/")->Replicates();
  }
  CheckWorkers(batch);
  for (const StoredEvent& stored : batch.events) OnEvent(stored.study, stored.event, draining);
}

// A batch says which workers were sent home and which came anew, not in which order with its grants.
void Ledger::CheckWorkers(const Batch& batch) {
  const auto came = [&](const std::string& worker) {
    return std::any_of(batch.workers.begin(), batch.workers.end(), [&](const WorkerRecord& record) {
      return record.name == worker && record.sent_home.empty();
    });
  };
  for (const StoredEvent& stored : batch.events) {
    const std::string& worker = stored.event.worker;
    if (stored.event.kind == EventKind::kAttemptGranted && sent_home_.contains(worker) && !came(worker))
      Breach("granted to a worker that was sent home: " + worker);
  }
  for (const WorkerRecord& record : batch.workers) {
    if (record.sent_home.empty()) {
      sent_home_.erase(record.name);
    } else {
      sent_home_.insert(record.name);
    }
  }
}

void Ledger::OnEvent(StudyId id, const Event& event, bool draining) {
  if (event.seq <= last_seq_) Breach(absl::StrFormat("event %d after event %d", event.seq, last_seq_));
  last_seq_ = event.seq;
  if (!studies_.contains(id)) return Breach("an event of a study that is not stored");
  StudyRow& study = studies_[id];
  ++study.events;
  switch (event.kind) {
    case EventKind::kTrialCreated:
      study.trials[event.job.trial] = {event.bracket, event.first_rung, false, false};
      study.of_bracket[event.bracket].push_back(event.job.trial);
      break;
    case EventKind::kAttemptGranted:
      OnGrant(study, event, draining);
      break;
    case EventKind::kCheckpoint: {
      JobRow& job = study.jobs[event.job];
      if (job.running != event.attempt && (job.running != 0 || job.attempts != event.attempt))
        Breach("a checkpoint of an attempt that does not run: " + Text(id, event.job));
      job.checkpointed = event.attempt;
      job.checkpoint_budget = event.result.charged;
      break;
    }
    case EventKind::kAttemptLost:
    case EventKind::kAttemptFailed:
    case EventKind::kResult:
      OnEnd(study, event);
      break;
    case EventKind::kPromoted:
      OnPromotion(study, event);
      break;
    case EventKind::kTrialFinished: {
      TrialRow& trial = study.trials[event.job.trial];
      if (trial.finished) Breach("a trial finished twice: " + Text(id, event.job));
      trial.finished = true;
      if (event.message == "not promoted") {
        study.down[{trial.bracket, trial.rung + 1}].push_back(event.job.trial);
        study.changed.emplace(trial.bracket, trial.rung + 1);
      }
      break;
    }
    case EventKind::kStudyState:
      if (IsFinished(study.state)) Breach("a finished study changed its state");
      study.state = event.study_state;
      break;
  }
}

void Ledger::OnGrant(StudyRow& study, const Event& event, bool draining) {
  const bool evaluate = event.job.kind == AttemptKind::kEvaluate;
  const std::string text = Text({0}, event.job);
  JobRow& job = study.jobs[event.job];
  if (job.running != 0) Breach("a second running attempt of " + text);
  if (job.value.has_value()) Breach("trained again although it has a result: " + text);
  if (event.attempt != job.attempts + 1) Breach("attempt numbers do not grow by one: " + text);
  if (study.state != (evaluate ? StudyState::kEvaluating : StudyState::kRunning))
    Breach(absl::StrFormat("granted while the study is %s: %s", Name(study.state), text));
  if (draining) Breach("granted by a coordinator that drains: " + text);
  if (!evaluate && study.trials[event.job.trial].finished)
    Breach("granted although its trial is finished: " + text);
  if (job.checkpointed != 0 && event.resume_attempt != job.checkpointed)
    Breach(absl::StrFormat("resumes from attempt %d, but attempt %d has the newest checkpoint: %s",
                           event.resume_attempt, job.checkpointed, text));
  job.attempts = job.running = event.attempt;
  job.worker = event.worker;
}

void Ledger::OnEnd(StudyRow& study, const Event& event) {
  JobRow& job = study.jobs[event.job];
  const std::string text = Text({0}, event.job);
  const bool copied = event.copied_from.has_value();
  // A lost attempt may come back with its result as long as nobody has taken its job.
  const auto before = job.ended.find(event.attempt);
  const bool late = event.kind == EventKind::kResult && !copied && job.running == 0 &&
                    job.attempts == event.attempt && before != job.ended.end() &&
                    before->second == EventKind::kAttemptLost;
  if (!late && job.running != (copied ? 0 : event.attempt))
    Breach("the end of an attempt that does not run: " + text);
  if (late) study.charged -= job.lost_charged;
  job.running = 0;
  job.lost_charged = event.spent.charged;
  if (!copied) job.ended[event.attempt] = event.kind;
  if (event.kind == EventKind::kAttemptLost) ++lost_[job.worker];
  if (event.kind == EventKind::kAttemptFailed && event.cause != FailureCause::kBadData &&
      event.job.kind == AttemptKind::kTrain) {
    study.trials[event.job.trial].failed = true;
  }
  if (event.job.kind == AttemptKind::kTrain) study.charged += event.spent.charged;
  if (event.kind != EventKind::kResult) return;
  if (job.value.has_value()) Breach("a second result of " + text);
  job.value = event.result.values.empty() ? 0 : event.result.values.begin()->second;
  job.value_attempt = event.attempt;
  job.copied = copied;
  if (event.job.kind == AttemptKind::kTrain) study.charged += event.result.charged;
}

std::optional<double> Ledger::ScoreOf(const StudyRow& study, TrialId trial, int rung) const {
  double sum = 0;
  int count = 0;
  for (auto job = study.jobs.lower_bound(Job{trial, rung}); job != study.jobs.end(); ++job) {
    if (job->first.trial != trial || job->first.rung != rung) break;
    if (job->first.kind != AttemptKind::kTrain) continue;
    if (!job->second.value.has_value()) return std::nullopt;
    sum += *job->second.value;
    ++count;
  }
  return count < study.replicates ? std::nullopt : std::optional<double>(sum / count);
}

void Ledger::OnPromotion(StudyRow& study, const Event& event) {
  const TrialId id = event.job.trial;
  TrialRow& trial = study.trials[id];
  if (trial.finished) Breach("a finished trial was promoted");
  if (event.job.rung != trial.rung + 1) Breach("a promotion over more than one rung");
  if (!ScoreOf(study, id, trial.rung).has_value()) Breach("a trial without a score was promoted");
  if (trial.bracket >= 0) {
    study.up[{trial.bracket, event.job.rung}].push_back(id);
    study.changed.emplace(trial.bracket, event.job.rung);
    for (const TrialId other : study.of_bracket[trial.bracket]) {
      const TrialRow& row = study.trials[other];
      const bool beside = row.rung == trial.rung && !row.finished;
      if (beside && !ScoreOf(study, other, row.rung).has_value())
        Breach("promoted before its rung was decided");
    }
  }
  trial.rung = event.job.rung;
}

void Ledger::CheckPromotions(const Core& core, StudyId id, StudyRow& row) {
  const Study& study = core.studies().at(id).study;
  const double sign = study.spec().objective.goal == Goal::kMaximize ? -1 : 1;
  if (row.changed.empty()) return;
  const std::vector<Study::BracketView> brackets = study.brackets();
  for (const auto& where : std::exchange(row.changed, {})) {
    const std::vector<TrialId>& promoted = row.up[where];
    const Study::BracketView& bracket = brackets.at(static_cast<size_t>(where.first));
    const int planned = bracket.planned.at(static_cast<size_t>(where.second - bracket.first_rung));
    if (static_cast<int>(promoted.size()) > planned) Breach("more promotions than planned");
    const auto left = row.down.find(where);
    if (left == row.down.end()) continue;
    const auto rank = [&](TrialId trial) {
      return std::make_pair(sign * *ScoreOf(row, trial, where.second - 1), trial);
    };
    for (const TrialId winner : promoted) {
      for (const TrialId loser : left->second) {
        if (rank(loser) < rank(winner)) Breach("a worse trial was promoted");
      }
    }
  }
}

void Ledger::CheckStudy(const StudyEntry& entry, StudyRow& row) {
  const Study& study = entry.study;
  if (study.state() != row.state) Breach("memory and store differ in the study's state");
  if (std::abs(study.budget_charged() - row.charged) > kTolerance * (1 + row.charged))
    Breach(absl::StrFormat("budget charged is %g, accepted results say %g", study.budget_charged(),
                           row.charged));
  const std::optional<Incumbent> best = study.incumbent();
  if (row.best.has_value()) {
    const double sign = study.spec().objective.goal == Goal::kMaximize ? -1 : 1;
    if (!best.has_value() || best->rung < row.best->rung ||
        (best->rung == row.best->rung && sign * best->score > sign * row.best->score) ||
        (best->rung == row.best->rung && best->score == row.best->score && row.best->trial < best->trial)) {
      Breach("the incumbent stepped down");
    }
  }
  row.best = best;
}

void Ledger::OnStep(const Core& core, const Batch& batch) {
  std::set<StudyId> touched;
  for (const StoredEvent& stored : batch.events) touched.insert(stored.study);
  for (const StudyId id : touched) {
    CheckStudy(core.studies().at(id), studies_.at(id));
    CheckPromotions(core, id, studies_.at(id));
  }
  for (const StoredEvent& stored : batch.events) {
    if (stored.event.kind != EventKind::kAttemptGranted) continue;
    const Lease* lease = core.leases().Find(stored.study, stored.event.job);
    if (lease == nullptr || lease->key.attempt != stored.event.attempt || lease->resume_dir.empty()) continue;
    const Checkpoint* checkpoint = disk_.Read(lease->resume_dir);
    if (checkpoint == nullptr) {
      Breach(Text(stored.study, stored.event.job) + " is to resume from " + lease->resume_dir +
             ", which does not exist");
    } else if (checkpoint->budget + kTolerance < lease->budget_from) {
      Breach(absl::StrFormat("%s is at %g, not at %g", lease->resume_dir, checkpoint->budget,
                             lease->budget_from));
    }
  }
}

void Ledger::OnRemoval(const Core& core) {
  for (const auto& [id, row] : studies_) {
    if ((row.state != StudyState::kRunning && row.state != StudyState::kPaused) ||
        row.trials.size() > kFewTrials)
      continue;
    for (const auto& [trial, entry] : row.trials) {
      for (int replicate = 0; !entry.finished && replicate < row.replicates; ++replicate)
        CheckCheckpoint(core, id, row, trial, replicate);
    }
  }
}

// A trial that is not finished goes on from what it has: its rung's end, or the newest checkpoint before.
void Ledger::CheckCheckpoint(const Core& core, StudyId id, const StudyRow& row, TrialId trial,
                             int replicate) {
  Job job{trial, row.trials.at(trial).rung, replicate};
  const auto found = row.jobs.find(job);
  if (found != row.jobs.end() && found->second.value.has_value()) ++job.rung;
  const auto resume = core.studies().at(id).study.ResumeFrom(job);
  if (!resume.has_value()) return;
  const std::string directory = core.options().dir.checkpoints(
      resume->study.value, resume->trial.value, resume->rung, resume->replicate, resume->attempt);
  if (disk_.Read(directory) == nullptr)
    Breach("removed although " + Text(id, job) + " would resume from it: " + directory);
}

void Ledger::OnExport(const Core& core, StudyStore& store) {
  for (const auto& [id, row] : studies_) {
    CheckTrials(core, id, row);
    CheckLog(core, store, id, row);
  }
}

// Page by page, as `rung study export` reads them.
void Ledger::CheckTrials(const Core& core, StudyId id, const StudyRow& row) {
  v1::ListTrialsRequest request;
  request.mutable_study()->set_id(id.value);
  request.set_rung(-1);
  request.set_limit(kTrialsOfPage);
  size_t trials = 0;
  int64_t results = 0;
  for (bool more = true; more;) {
    const absl::StatusOr<v1::ListTrialsResponse> page = Answer(core, request);
    if (!page.ok()) return Breach("trials cannot be exported: " + std::string(page.status().message()));
    more = page->more();
    for (const v1::TrialRow& trial : page->trials()) {
      ++trials;
      request.set_after_trial(trial.trial());
      for (const v1::RungResult& rung : trial.rungs()) {
        for (const v1::ReplicateResult& replicate : rung.replicates()) {
          if (replicate.values().empty()) continue;
          ++results;
          const Job job{TrialId{trial.trial()}, rung.rung(), replicate.replicate()};
          const auto stored = row.jobs.find(job);
          if (stored == row.jobs.end() || stored->second.value != FromWire(replicate.values(0)))
            Breach("exported with another result than the stored one: " + Text(id, job));
        }
      }
    }
  }
  const int64_t stored = std::count_if(row.jobs.begin(), row.jobs.end(), [](const auto& job) {
    return job.first.kind == AttemptKind::kTrain && job.second.value.has_value();
  });
  if (trials != row.trials.size() || results != stored)
    Breach(absl::StrFormat("%d trials and %d results are exported, %d and %d are stored", trials, results,
                           row.trials.size(), stored));
}

// The exported log leads to where the study ended.
void Ledger::CheckLog(const Core& core, StudyStore& store, StudyId id, const StudyRow& row) {
  const StudyEntry& entry = core.studies().at(id);
  Study again(id, entry.study.spec(), entry.record.data_sha256);
  v1::ListEventsRequest request;
  request.mutable_study()->set_id(id.value);
  request.set_limit(kEventsOfPage);
  int64_t events = 0;
  for (bool more = true; more;) {
    const absl::StatusOr<v1::ListEventsResponse> page = Answer(core, store, request);
    if (!page.ok()) return Breach("the log cannot be exported: " + std::string(page.status().message()));
    more = page->more();
    for (const std::string& text : page->events()) {
      const absl::StatusOr<Event> event = EventFromJson(nlohmann::json::parse(text, nullptr, false));
      if (!event.ok()) return Breach("an exported event cannot be read: " + text);
      again.Apply(*event);
      request.set_after_seq(event->seq);
      ++events;
    }
  }
  const std::optional<Incumbent> best = again.incumbent();
  const bool same_best =
      best.has_value() == row.best.has_value() &&
      (!best.has_value() ||
       (best->trial == row.best->trial && best->rung == row.best->rung && best->score == row.best->score));
  if (events != row.events || again.state() != row.state || !same_best)
    Breach("the exported log leads elsewhere than the study");
}

void Ledger::OnRecovery(const Core& core) {
  sent_home_.clear();
  for (const auto& [name, worker] : core.workers()) {
    if (!worker.record.sent_home.empty()) sent_home_.insert(name);
  }
  for (auto& [id, row] : studies_) {
    if (!core.studies().contains(id)) return Breach("a stored study is missing after a restart");
    CheckStudy(core.studies().at(id), row);
    int running = 0;
    for (const auto& [job, entry] : row.jobs) {
      running += entry.running != 0 ? 1 : 0;
      const Lease* lease = core.leases().Find(id, job);
      if ((lease == nullptr ? 0 : lease->key.attempt) != entry.running)
        Breach("the running attempts are others after a restart: " + Text(id, job));
    }
    for (const auto& [trial, entry] : row.trials) {
      if (entry.failed && !entry.finished) Breach("a failure is stored without what follows from it");
    }
  }
  for (const auto& [key, value] : acknowledged_) {
    if (key.job.kind == AttemptKind::kEvaluate) continue;
    const Study& study = core.studies().at(key.study).study;
    if (!study.Has(key.job.trial))
      return Breach("the trial of an acknowledged result is gone: " + Text(key.study, key.job));
    const TrialView& trial = study.trial(key.job.trial);
    const auto rung = trial.rungs.find(key.job.rung);
    const auto replicate = static_cast<size_t>(key.job.replicate);
    if (rung == trial.rungs.end() || !rung->second.replicates.at(replicate).result.has_value() ||
        rung->second.replicates.at(replicate).result->values.begin()->second != value) {
      Breach("an acknowledged result is gone or changed after a restart: " + Text(key.study, key.job));
    }
  }
}

void Ledger::OnAnswer(const std::string& request_id, const absl::Status& status,
                      const std::string& decision) {
  if (absl::IsUnavailable(status)) return;
  const auto [first, fresh] = answers_.emplace(request_id, std::make_pair(status.code(), decision));
  if (!fresh && first->second != std::make_pair(status.code(), decision)) {
    Breach(absl::StrFormat("request %s was answered '%s' and then '%s' (%s)", request_id,
                           first->second.second, decision, std::string(status.message())));
  }
}

void Ledger::OnReportAnswer(const v1::ReportRequest& request, const absl::Status& status,
                            const std::string& decision) {
  OnAnswer(request.request_id(), status, decision);
  const AttemptKey key = FromWire(request.attempt());
  const auto study = studies_.find(key.study);
  if (study == studies_.end()) return Breach("a report of a study that was never stored");
  const JobRow& job = study->second.jobs[key.job];
  const auto ended = job.ended.find(key.attempt);
  if (absl::IsAborted(status)) {
    if (ended != job.ended.end() && ended->second != EventKind::kAttemptLost)
      Breach("a report was refused although it is stored: " + Text(key.study, key.job));
    return;
  }
  if (!status.ok()) return Breach("a report was refused: " + std::string(status.message()));
  if (request.has_failure()) {
    if (ended == job.ended.end())
      Breach("an acknowledged failure is not stored: " + Text(key.study, key.job));
    return;
  }
  const double value = FromWire(request.result().values(0));
  if (job.value_attempt != key.attempt || job.copied || job.value != value)
    Breach(absl::StrFormat("attempt %d of %s was told that its result is stored", key.attempt,
                           Text(key.study, key.job)));
  acknowledged_[key] = value;
}

void Ledger::OnStart(const v1::Attempt& attempt, const Checkpoint* resumed) {
  if (resumed != nullptr && resumed->line != LineOf(attempt))
    Breach("an attempt resumes from another config's checkpoint: " + attempt.resume_dir());
}

}  // namespace rung::sim
