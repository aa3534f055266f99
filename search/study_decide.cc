// What follows from the state: promotions, finished trials, stop rules, the next job. Every decision becomes
// events.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "search/brackets/auto_ladder.h"
#include "search/study_state.h"

namespace rung {

Event About(EventKind kind, const Job& job) {
  Event event;
  event.kind = kind;
  event.job = job;
  return event;
}

namespace {

Event Finished(TrialId trial, TrialState state, const std::string& message) {
  Event event = About(EventKind::kTrialFinished, {trial});
  event.trial_state = state;
  event.message = message;
  return event;
}

// A program's last words end with what ended it: the first line says how, the last one why.
std::string FirstAndLastLine(const std::string& text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  if (lines.size() < 2) return lines.empty() ? text : lines.front();
  return lines.front() + (lines.size() > 2 ? " ... " : " ") + lines.back();
}

void Take(Proposal proposal, Event& event) {
  event.config = std::move(proposal.config);
  event.origin.source = proposal.source;
  event.origin.model_rung = proposal.model_rung;
  event.origin.detail_json = std::move(proposal.detail_json);
}

}  // namespace

void Study::State::Emit(Event event, Stamp stamp, std::vector<Event>& events) {
  event.at = stamp.at;
  event.seq = stamp.next_seq++;
  Apply(event);
  events.push_back(std::move(event));
}

void Study::State::Become(StudyState next, const std::string& why, Stamp stamp, std::vector<Event>& events) {
  Event event = About(EventKind::kStudyState, {});
  event.study_state = next;
  event.message = why;
  Emit(std::move(event), stamp, events);
}

void Study::State::Pause(const std::string& why, Stamp stamp, std::vector<Event>& events) {
  if (state == StudyState::kRunning || state == StudyState::kEvaluating)
    Become(StudyState::kPaused, why, stamp, events);
}

void Study::State::Settle(Stamp stamp, std::vector<Event>& events) {
  FinishFailing(stamp, events);
  FinishScored(stamp, events);
  if (Searching() && (policy == nullptr || !policy->Over(brackets))) {
    const std::vector<int> open(open_brackets.begin(), open_brackets.end());
    for (const int index : open) {
      const Bracket& bracket = brackets[static_cast<size_t>(index)];
      for (const Verdict& verdict : scheduler->Judge(CurrentStandings(), bracket))
        Carry(verdict, stamp, events);
      if (Closed(bracket)) open_brackets.erase(index);
    }
  }
  if (state == StudyState::kRunning) CheckStopRules(stamp, events);
  if (running_attempts > 0) return;
  if (state == StudyState::kStopping) EndSearch(stamp, events);
  if (state == StudyState::kRunning && SearchExhausted() &&
      (policy == nullptr || !CreateOrPromote(stamp, events))) {
    EndSearch(stamp, events);
  }
  if (state == StudyState::kEvaluating && evaluations.empty())
    Become(StudyState::kDone, message, stamp, events);
}

void Study::State::FinishFailing(Stamp stamp, std::vector<Event>& events) {
  const std::vector<TrialId> now(failing.begin(), failing.end());
  for (const TrialId trial : now) {
    Event event = Finished(trial, TrialState::kFailed, Trial(trial).message);
    event.cause = *Trial(trial).cause;
    Emit(std::move(event), stamp, events);
  }
}

void Study::State::FinishScored(Stamp stamp, std::vector<Event>& events) {
  const std::vector<TrialId> now(scored.begin(), scored.end());
  for (const TrialId id_of_trial : now) {
    const TrialView& trial = Trial(id_of_trial);
    if (trial.rung == trial.last_rung) {
      Emit(Finished(trial.id, TrialState::kCompleted, ""), stamp, events);
    } else if (Searching()) {
      Emit(About(EventKind::kPromoted, {trial.id, trial.rung + 1}), stamp, events);
    }
  }
}

void Study::State::Carry(const Verdict& verdict, Stamp stamp, std::vector<Event>& events) {
  const TrialView& trial = Trial(verdict.trial);
  Event event = verdict.goes_on ? About(EventKind::kPromoted, {trial.id, trial.rung + 1})
                                : Finished(trial.id, TrialState::kStopped, "not promoted");
  event.decision_json = verdict.inputs_json;
  Emit(std::move(event), stamp, events);
}

// Nothing has a score and so many trials said the same: that is no config's fault, and the rest would say it
// too.
void Study::State::GiveUp(const std::string& why, Stamp stamp, std::vector<Event>& events) {
  if (state != StudyState::kRunning || incumbent.has_value()) return;
  const auto alike = std::count_if(trials.begin(), trials.end(), [&why](const TrialView& trial) {
    return trial.cause.has_value() && *trial.cause != FailureCause::kInfrastructure && trial.message == why;
  });
  if (alike < kAlikeFailures) return;
  Become(StudyState::kStopping, absl::StrFormat("%d trials failed alike: %s", alike, FirstAndLastLine(why)),
         stamp, events);
}

void Study::State::CheckStopRules(Stamp stamp, std::vector<Event>& events) {
  const StopRule& stop = spec.stop;
  if (stop.target.has_value() && incumbent.has_value() && Loss(incumbent->score) <= Loss(*stop.target)) {
    Become(StudyState::kStopping, kTargetReached, stamp, events);
  } else if (stop.gpu_hours.has_value() && device_seconds >= *stop.gpu_hours * 3600) {
    Become(StudyState::kStopping, kGpuHoursUsed, stamp, events);
  }
}

std::string Study::State::WhyExhausted() const {
  if (policy != nullptr && policy->Over(brackets))
    return absl::StrFormat("the budget of %d brackets is spent",
                           spec.stop.brackets.value_or(static_cast<int>(budgets.size())));
  const bool ended_by_space =
      TrialLeft() && IsUsedUp() && spec.algorithm.Endless() && spec.algorithm.type != AlgorithmType::kGrid;
  return ended_by_space ? absl::StrFormat("all %d configs of the space are tried", all_configs)
                        : "every planned trial is finished";
}

void Study::State::EndSearch(Stamp stamp, std::vector<Event>& events) {
  const std::string why = state == StudyState::kStopping ? message : WhyExhausted();
  const std::vector<TrialId> left(active.begin(), active.end());
  for (const TrialId trial : left) {
    Emit(Finished(trial, TrialState::kStopped, "the search ended: " + why), stamp, events);
  }
  if (stop_asked) return Become(StudyState::kStopped, why, stamp, events);
  if (!incumbent.has_value())
    return Become(StudyState::kFailed, "no trial got a score; " + why, stamp, events);
  Become(EvaluationJobs().empty() ? StudyState::kDone : StudyState::kEvaluating, why, stamp, events);
}

Event Study::State::Creation(int bracket, int first_rung) const {
  const TrialId trial{static_cast<int64_t>(trials.size()) + 1};
  Event event = About(EventKind::kTrialCreated, {trial, first_rung});
  event.bracket = bracket;
  event.first_rung = first_rung;
  event.origin.as_of = last_seq;
  event.origin.pending.assign(pending.begin(), pending.end());
  return event;
}

void Study::State::ShowPending() {
  history.pending.clear();
  for (const TrialId each : pending) {
    const TrialView& judged = Trial(each);
    history.pending.push_back({each, &judged.config, judged.rung});
  }
}

void Study::State::Create(int bracket, int first_rung, Stamp stamp, std::vector<Event>& events) {
  Event event = Creation(bracket, first_rung);
  const auto& waiting = bracket < 0 ? enqueued_outside : enqueued_slots;
  const size_t taken = bracket < 0 ? outside_created : slots_created;
  if (taken < waiting.size()) {
    event.origin.source = Origin::Source::kEnqueued;
    event.config = spec.enqueue[waiting[taken]].config;
  } else {
    Rng rng(static_cast<uint64_t>(spec.seed), static_cast<uint64_t>(event.job.trial.value));
    history.first_rung = first_rung;
    ShowPending();
    Take(sampler->Propose(history, rng), event);
  }
  Emit(std::move(event), stamp, events);
}

bool Study::State::CreateOrPromote(Stamp stamp, std::vector<Event>& events) {
  if (slots_created < enqueued_slots.size() && CanCreate()) {
    Create(kLadder, 0, stamp, events);
    return true;
  }
  // One stream of random numbers a decision.
  size_t decisions = 0;
  for (const Bracket& bracket : brackets) {
    for (const RungStanding& level : bracket.levels) decisions += level.entered.size();
  }
  Rng rng(static_cast<uint64_t>(spec.seed), decisions + 1);
  ShowPending();
  std::optional<AutoPolicy::Pick> pick = policy->Next(CurrentStandings(), history, rng);
  if (!pick.has_value()) return false;
  if (pick->promotion.has_value()) {
    Carry(*pick->promotion, stamp, events);
    return true;
  }
  Event event = Creation(pick->bracket, pick->first_rung);
  Take(std::move(pick->proposal), event);
  Emit(std::move(event), stamp, events);
  return true;
}

// ---- Study's decisions

namespace {

// The first job that neither has a known result nor is being trained elsewhere; with `copied`, the first
// known one.
struct Pick {
  std::optional<Job> job;
  std::optional<KnownResults::Known> copied;
  std::string identity;
};

Pick FirstJob(const Study::State& state, const std::set<Job>& ready, const KnownResults& known) {
  for (const Job& job : ready) {
    std::string identity = state.Identity(job);
    if (identity.empty()) return {job, std::nullopt, ""};
    if (std::optional<KnownResults::Known> result = known.Find(identity)) {
      const auto score = result->result.values.find(state.spec.objective.metric);
      const bool scores = score != result->result.values.end() && std::isfinite(score->second);
      if (scores || job.kind == AttemptKind::kEvaluate) return {job, std::move(result), std::move(identity)};
      return {job, std::nullopt, ""};
    }
    if (!known.InTraining(identity)) return {job, std::nullopt, ""};
  }
  return {};
}

// What a free worker could do in the search: a job, or nothing; `created` if a trial was made on the way and
// the scan starts again.
Pick NextInSearch(Study::State& state, const KnownResults& known, Stamp stamp, std::vector<Event>& events,
                  bool& created) {
  if (Pick pick = FirstJob(state, state.ready[-1], known); pick.job.has_value()) return pick;
  if (state.outside_created < state.enqueued_outside.size() && state.TrialLeft()) {
    state.Create(-1, 0, stamp, events);
    created = true;
    return {};
  }
  // Brackets that never fill: what is queued in any of them goes before what another might start.
  for (const int index : state.open_brackets) {
    if (!state.spec.algorithm.Endless()) break;
    if (Pick pick = FirstJob(state, state.ready[index], known); pick.job.has_value()) return pick;
  }
  if (state.policy != nullptr) {
    created = state.CreateOrPromote(stamp, events);
    return {};
  }
  for (const int index : state.open_brackets) {
    if (Pick pick = FirstJob(state, state.ready[index], known); pick.job.has_value()) return pick;
    const Bracket& bracket = state.brackets[static_cast<size_t>(index)];
    const Step step = state.scheduler->Next(state.CurrentStandings(), bracket);
    if (step.promotion.has_value()) state.Carry(*step.promotion, stamp, events);
    if (step.new_trial_rung.has_value()) state.Create(index, *step.new_trial_rung, stamp, events);
    created = step.promotion.has_value() || step.new_trial_rung.has_value();
    if (created) return {};
  }
  const std::optional<int> limit = state.BracketLimit();
  const auto opened = static_cast<int>(state.brackets.size());
  if (state.CanCreate() && (!limit.has_value() || opened < *limit)) {
    state.Create(opened, state.scheduler->Plan(opened).first_rung, stamp, events);
    created = true;
  }
  return {};
}

}  // namespace

Decision Study::NextWork(const KnownResults& known, Stamp stamp) {
  Decision decision;
  while (true) {
    state_->Settle(stamp, decision.events);
    decision.idle = IsFinished(state_->state)              ? Idle::kDone
                    : state_->state == StudyState::kPaused ? Idle::kPaused
                                                           : Idle::kWait;
    bool created = false;
    Pick pick;
    if (state_->state == StudyState::kRunning) {
      pick = NextInSearch(*state_, known, stamp, decision.events, created);
    } else if (state_->state == StudyState::kEvaluating) {
      pick = FirstJob(*state_, state_->ready_evaluations, known);
    }
    if (created) continue;
    if (!pick.copied.has_value()) {
      decision.job = pick.job;
      return decision;
    }
    Event event = About(EventKind::kResult, *pick.job);
    event.attempt = pick.copied->attempt;
    event.result = pick.copied->result;
    event.result.charged = 0;
    event.result.device_seconds = 0;
    event.identity = std::move(pick.identity);
    event.copied_from = pick.copied->source;
    state_->Emit(std::move(event), stamp, decision.events);
  }
}

Event Study::Grant(const Job& job, const std::string& worker, Stamp stamp) {
  const bool evaluate = job.kind == AttemptKind::kEvaluate;
  const auto& open_jobs = evaluate ? state_->evaluations : state_->jobs;
  const auto found = open_jobs.find(job);
  RUNG_CHECK(found != open_jobs.end() && found->second.running == 0, "a job that waits for a worker");
  Event event = About(EventKind::kAttemptGranted, job);
  event.attempt = found->second.attempts + 1;
  event.worker = worker;
  if (const std::optional<ResumePoint> point = state_->ResumeFrom(job)) {
    event.resume_attempt = point->attempt;
    event.resume_rung = point->stands_for;
  }
  std::vector<Event> events;
  state_->Emit(std::move(event), stamp, events);
  return std::move(events.front());
}

}  // namespace rung
