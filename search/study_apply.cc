// Events to state. Nothing is decided here, so that stored events always lead to the same state.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/match.h"
#include "base/check.h"
#include "search/study_state.h"

namespace rung {

void Study::State::Apply(const Event& event) {
  RUNG_CHECK(event.seq > last_seq, "events in the order of their seq");
  last_seq = event.seq;
  switch (event.kind) {
    case EventKind::kTrialCreated:
      return ApplyCreated(event);
    case EventKind::kAttemptGranted:
      return ApplyGranted(event);
    case EventKind::kAttemptLost:
      return ApplyLost(event);
    case EventKind::kAttemptFailed:
      return ApplyFailed(event);
    case EventKind::kCheckpoint:
      return ApplyCheckpoint(event);
    case EventKind::kResult:
      return ApplyResult(event);
    case EventKind::kPromoted:
      return ApplyPromoted(event);
    case EventKind::kTrialFinished:
      return ApplyFinished(event);
    case EventKind::kStudyState:
      return ApplyStudyState(event);
  }
}

void Study::State::ApplyCreated(const Event& event) {
  RUNG_CHECK(event.job.trial.value == static_cast<int64_t>(trials.size()) + 1,
             "trials are numbered without a gap");
  const int index = event.bracket;
  if (index >= 0) {
    RUNG_CHECK(index <= static_cast<int>(brackets.size()), "brackets are opened in order");
    if (index == static_cast<int>(brackets.size())) {
      brackets.push_back(NewBracket(index));
      open_brackets.insert(index);
    }
  }
  TrialView& trial = trials.emplace_back();
  trial.id = event.job.trial;
  trial.config = event.config;
  // Without `pending`, with 1,000 workers a thousand ids a trial: who explains a trial reads its event.
  const Origin& origin = event.origin;
  trial.origin = {origin.source, origin.as_of, {}, origin.model_rung, origin.detail_json};
  trial.bracket = index;
  trial.first_rung = event.first_rung;
  trial.last_rung = LastRung(trial);
  trial.created_at = event.at;
  active.insert(trial.id);
  history.configs.insert(ConfigHash(trial.config));
  history.trials.push_back(&trial.config);
  RememberFits(trial.origin.detail_json, history);
  RememberClimb(trial.origin.detail_json, trial.id, history);
  if (event.origin.source == Origin::Source::kGrid) ++history.grid_trials;
  if (event.origin.source == Origin::Source::kEnqueued) ++(index < 0 ? outside_created : slots_created);
  if (index >= 0) ++brackets[static_cast<size_t>(index)].alive;
  EnterRung(trial, event.first_rung);
}

RungStanding* Study::State::StandingOf(const TrialView& trial) {
  if (trial.bracket < 0) return nullptr;
  Bracket& bracket = brackets[static_cast<size_t>(trial.bracket)];
  const int level = trial.rung - bracket.first_rung;
  RUNG_CHECK(level >= 0 && level <= bracket.Last(), "a rung of the bracket");
  return &bracket.levels[static_cast<size_t>(level)];
}

void Study::State::LeaveRung(const TrialView& trial) {
  const std::optional<double>& score = trial.rungs.at(trial.rung).score;
  RungStanding* standing = StandingOf(trial);
  if (standing != nullptr && score.has_value()) standing->waiting.erase({trial.id, Loss(*score)});
}

void Study::State::EnterRung(TrialView& trial, int rung) {
  RUNG_CHECK(rung >= 0 && rung < static_cast<int>(budgets.size()), "a rung of the plan");
  trial.rung = rung;
  if (RungStanding* standing = StandingOf(trial)) {
    standing->entered.push_back(trial.id);
    standing->open.insert(trial.id);
  }
  trial.state = TrialState::kQueued;
  trial.rungs[rung].replicates.resize(static_cast<size_t>(spec.Replicates()));
  pending.insert(trial.id);
  for (int replicate = 0; replicate < spec.Replicates(); ++replicate) {
    const Job job{trial.id, rung, replicate, AttemptKind::kTrain};
    jobs.emplace(job, OpenJob{});
    ready[trial.bracket].insert(job);
  }
}

void Study::State::ApplyGranted(const Event& event) {
  const bool evaluate = event.job.kind == AttemptKind::kEvaluate;
  auto& open_jobs = evaluate ? evaluations : jobs;
  const auto found = open_jobs.find(event.job);
  RUNG_CHECK(found != open_jobs.end() && found->second.running == 0, "a job that waits for a worker");
  OpenJob& job = found->second;
  RUNG_CHECK(event.attempt == job.attempts + 1, "attempts are numbered without a gap");
  job.attempts = job.running = event.attempt;
  job.granted_at = event.at;
  job.checkpointed_at = absl::InfinitePast();
  ++running_attempts;
  if (evaluate) {
    ready_evaluations.erase(event.job);
    return;
  }
  if (event.resume_attempt == 0) {
    job.base_rung = -1;
  } else if (event.resume_rung < event.job.rung) {
    job.base_rung = event.resume_rung;
  }
  TrialView& trial = Trial(event.job.trial);
  ready[trial.bracket].erase(event.job);
  ReplicateView& replicate = trial.rungs[event.job.rung].replicates[static_cast<size_t>(event.job.replicate)];
  replicate.attempts = event.attempt;
  replicate.running = true;
  RefreshState(trial);
}

// The attempt no longer runs, whatever its end was.
void Study::State::EndAttempt(const Job& key, int64_t attempt) {
  const bool evaluate = key.kind == AttemptKind::kEvaluate;
  auto& open_jobs = evaluate ? evaluations : jobs;
  const auto found = open_jobs.find(key);
  RUNG_CHECK(found != open_jobs.end() && found->second.running == attempt, "the attempt that holds the job");
  found->second.running = 0;
  --running_attempts;
  if (evaluate) return;
  Trial(key.trial).rungs[key.rung].replicates[static_cast<size_t>(key.replicate)].running = false;
}

// A lost attempt comes back with its end: it is as if it had never been given up.
void Study::State::TakeBack(const Job& key, int64_t attempt) {
  OpenJob& job = jobs.at(key);
  if (job.running != 0) return;
  RUNG_CHECK(job.attempts == attempt, "the newest attempt of a job that nobody has taken since");
  TrialView& trial = Trial(key.trial);
  ready[trial.bracket].erase(key);
  Charge(key, {-job.lost.charged, -job.lost.device_seconds});
  lost_seconds -= job.lost_seconds;
  --trial.rungs[key.rung].replicates[static_cast<size_t>(key.replicate)].losses;
  job.running = attempt;
  ++running_attempts;
}

void Study::State::Charge(const Job& job, const Spent& spent) {
  device_seconds += spent.device_seconds;
  if (job.kind == AttemptKind::kEvaluate) return;
  budget_charged += spent.charged;
  Spent& all = Trial(job.trial).rungs[job.rung].replicates[static_cast<size_t>(job.replicate)].without_result;
  all.charged += spent.charged;
  all.device_seconds += spent.device_seconds;
}

void Study::State::Requeue(const Job& key) {
  if (key.kind == AttemptKind::kEvaluate) {
    ready_evaluations.insert(key);
    return;
  }
  TrialView& trial = Trial(key.trial);
  if (!active.contains(key.trial)) {
    jobs.erase(key);
    return;
  }
  if (!failing.contains(key.trial)) ready[trial.bracket].insert(key);
  RefreshState(trial);
}

void Study::State::RefreshState(TrialView& trial) {
  if (!active.contains(trial.id)) return;
  const RungView& rung = trial.rungs[trial.rung];
  const bool running = std::any_of(rung.replicates.begin(), rung.replicates.end(),
                                   [](const ReplicateView& replicate) { return replicate.running; });
  trial.state = running                  ? TrialState::kRunning
                : rung.score.has_value() ? TrialState::kWaiting
                                         : TrialState::kQueued;
}

namespace {

// Device time of a lost attempt that its successor has to spend again: what came after its last checkpoint.
double SecondsToRepeat(const OpenJob& job, const Spent& spent) {
  const absl::Duration kept = std::max(job.checkpointed_at - job.granted_at, absl::ZeroDuration());
  return std::max(spent.device_seconds - absl::ToDoubleSeconds(kept), 0.0);
}

}  // namespace

void Study::State::ApplyLost(const Event& event) {
  EndAttempt(event.job, event.attempt);
  Charge(event.job, event.spent);
  const bool evaluate = event.job.kind == AttemptKind::kEvaluate;
  OpenJob& job = (evaluate ? evaluations : jobs).at(event.job);
  job.lost = event.spent;
  job.lost_seconds = SecondsToRepeat(job, event.spent);
  lost_seconds += job.lost_seconds;
  const bool told_of_it = event.loss == LossReason::kLost || event.loss == LossReason::kKilled;
  if (told_of_it) ++job.losses_in_a_row;  // an outage ends whatever was running
  const bool given_up = job.losses_in_a_row >= kMaxLosses;
  if (evaluate && given_up) {
    evaluations.erase(event.job);
    return;
  }
  if (!evaluate) {
    TrialView& trial = Trial(event.job.trial);
    ++trial.rungs[event.job.rung].replicates[static_cast<size_t>(event.job.replicate)].losses;
    if (given_up && active.contains(trial.id) && failing.insert(trial.id).second) {
      ++given_up_in_a_row;
      trial.cause = FailureCause::kInfrastructure;
      trial.message = "its workers were lost " + std::to_string(kMaxLosses) + " times in a row";
    }
  }
  Requeue(event.job);
}

void Study::State::ApplyFailed(const Event& event) {
  // A failure of a copied-out or granted attempt alike ends it; a job that was never granted cannot fail.
  if (event.job.kind == AttemptKind::kTrain) TakeBack(event.job, event.attempt);
  EndAttempt(event.job, event.attempt);
  Charge(event.job, event.spent);
  if (event.cause == FailureCause::kBadData) {
    Requeue(event.job);
    return;
  }
  if (event.job.kind == AttemptKind::kEvaluate) {
    evaluations.erase(event.job);
    return;
  }
  TrialView& trial = Trial(event.job.trial);
  jobs.erase(event.job);
  if (active.contains(trial.id) && failing.insert(trial.id).second) {
    trial.cause = event.cause;
    trial.message = event.message;
  }
  RefreshState(trial);
}

void Study::State::ApplyCheckpoint(const Event& event) {
  auto& open_jobs = event.job.kind == AttemptKind::kEvaluate ? evaluations : jobs;
  const auto found = open_jobs.find(event.job);
  RUNG_CHECK(found != open_jobs.end(), "a job without its result");
  OpenJob& job = found->second;  // nobody's, if a lost attempt comes back with its result
  RUNG_CHECK(job.running == event.attempt || (job.running == 0 && job.attempts == event.attempt),
             "the attempt that holds the job");
  if (event.result.charged > job.checkpoint_budget) job.losses_in_a_row = 0;
  job.checkpoint_attempt = event.attempt;
  job.checkpoint_budget = event.result.charged;
  job.checkpointed_at = event.at;
}

void Study::State::ApplyResult(const Event& event) {
  const bool evaluate = event.job.kind == AttemptKind::kEvaluate;
  const bool copied = event.copied_from.has_value();
  TrialView& trial = Trial(event.job.trial);
  if (copied) {
    const auto& open_jobs = evaluate ? evaluations : jobs;
    const auto found = open_jobs.find(event.job);
    RUNG_CHECK(found != open_jobs.end() && found->second.running == 0, "a job that waits for a worker");
    evaluate ? ready_evaluations.erase(event.job) : ready[trial.bracket].erase(event.job);
  } else {
    if (!evaluate) TakeBack(event.job, event.attempt);
    EndAttempt(event.job, event.attempt);
    device_seconds += event.result.device_seconds;
    given_up_in_a_row = 0;
  }
  if (evaluate) {
    evaluations.erase(event.job);
    trial.evaluation = event.result;
    trial.evaluation_attempt = event.attempt;
    return;
  }
  const int base_rung = jobs.at(event.job).base_rung;
  // An attempt that resumed at the rung's end has nothing to train and may write no checkpoint of its own.
  const int64_t checkpointed = jobs.at(event.job).checkpoint_attempt;
  jobs.erase(event.job);
  if (copied) {
    budget_saved += budgets[static_cast<size_t>(event.job.rung)];
  } else {
    budget_charged += event.result.charged;
    // One that found no checkpoint started anew: it is charged what its base had cost, once more.
    const double base = base_rung < 0 ? 0 : budgets[static_cast<size_t>(base_rung)];
    const bool resumed = event.result.charged < budgets[static_cast<size_t>(event.job.rung)] - base / 2;
    if (resumed) budget_saved += base;
  }
  RungView& rung = trial.rungs[event.job.rung];
  ReplicateView& replicate = rung.replicates[static_cast<size_t>(event.job.replicate)];
  replicate.result = event.result;
  replicate.result_attempt = event.attempt;
  replicate.checkpoint_attempt = !copied && checkpointed != 0 ? checkpointed : event.attempt;
  replicate.copied_from = event.copied_from;
  const bool complete = std::all_of(rung.replicates.begin(), rung.replicates.end(),
                                    [](const ReplicateView& each) { return each.result.has_value(); });
  if (complete && active.contains(trial.id) && !failing.contains(trial.id)) Score(trial);
  RefreshState(trial);
}

namespace {

double Aggregated(std::vector<double> values, Aggregate aggregate) {
  switch (aggregate) {
    case Aggregate::kMean: {
      const auto count = static_cast<double>(values.size());
      double sum = 0;
      for (const double value : values) sum += value;
      if (std::isfinite(sum)) return sum / count;
      double mean = 0;  // of finite values it is finite, even where their sum is not
      for (const double value : values) mean += value / count;
      const auto [least, most] = std::minmax_element(values.begin(), values.end());
      return std::clamp(mean, *least, *most);
    }
    case Aggregate::kMedian: {
      std::sort(values.begin(), values.end());
      const size_t middle = values.size() / 2;
      return values.size() % 2 == 1 ? values[middle] : std::midpoint(values[middle - 1], values[middle]);
    }
    case Aggregate::kMin:
      return *std::min_element(values.begin(), values.end());
  }
  return 0;
}

}  // namespace

void Study::State::Score(TrialView& trial) {
  RungView& rung = trial.rungs[trial.rung];
  std::vector<double> values;
  bool copied = true;
  for (const ReplicateView& replicate : rung.replicates) {
    values.push_back(replicate.result->values.at(spec.objective.metric));
    copied = copied && replicate.copied_from.has_value();
  }
  const double score = Aggregated(std::move(values), spec.objective.aggregate);
  rung.score = score;
  pending.erase(trial.id);
  const bool goes_on_alone = trial.bracket < 0 || trial.rung == trial.last_rung;
  if (goes_on_alone) scored.insert(trial.id);
  if (RungStanding* standing = StandingOf(trial)) {
    const RungEntry entry{trial.id, Loss(score)};
    ++standing->decided;
    standing->open.erase(trial.id);
    if (spec.algorithm.Climbs()) {  // else nobody asks for a place, and a million would cost minutes
      std::vector<RungEntry>& ranked = standing->ranked;
      ranked.insert(std::lower_bound(ranked.begin(), ranked.end(), entry), entry);
    }
    standing->losses[trial.id.value] = entry.loss;
    if (!goes_on_alone) standing->waiting.insert(entry);
    Bracket& bracket = brackets[static_cast<size_t>(trial.bracket)];
    bracket.top = std::max(bracket.top, scheduler->Top(bracket, trial.rung - bracket.first_rung));
  }
  Observe(trial, Loss(score), copied);
  const bool better =
      !incumbent.has_value() || trial.rung > incumbent->rung ||
      (trial.rung == incumbent->rung &&
       (Loss(score) < Loss(incumbent->score) || (score == incumbent->score && trial.id < incumbent->trial)));
  if (better) incumbent = Incumbent{trial.id, trial.rung, score};
}

// Copies of one result are one observation, however many trials carry it.
void Study::State::Observe(const TrialView& trial, double loss, bool copied) {
  const uint64_t key = ConfigHash(trial.config) + 0x9e3779b97f4a7c15 * static_cast<uint64_t>(trial.rung + 1);
  if (!observed.insert(key).second && copied) return;
  history.rungs[static_cast<size_t>(trial.rung)].push_back({trial.id, &trial.config, loss});
}

void Study::State::ApplyPromoted(const Event& event) {
  TrialView& trial = Trial(event.job.trial);
  RUNG_CHECK(trial.state == TrialState::kWaiting && event.job.rung > trial.rung,
             "a trial that waits goes up");
  scored.erase(trial.id);
  LeaveRung(trial);
  RememberFits(event.decision_json, history);
  RememberClimb(event.decision_json, trial.id, history);
  EnterRung(trial, event.job.rung);
}

void Study::State::ApplyFinished(const Event& event) {
  TrialView& trial = Trial(event.job.trial);
  RUNG_CHECK(active.erase(trial.id) == 1, "a trial that was not finished");
  const bool decided = trial.rungs[trial.rung].score.has_value();
  if (trial.bracket >= 0) {
    --brackets[static_cast<size_t>(trial.bracket)].alive;
    if (!decided) {
      ++StandingOf(trial)->decided;
      StandingOf(trial)->open.erase(trial.id);
    }
    LeaveRung(trial);
  }
  const bool blamed =
      event.trial_state == TrialState::kFailed && trial.cause != FailureCause::kInfrastructure;
  if (blamed) Observe(trial, std::numeric_limits<double>::infinity(), false);
  trial.state = event.trial_state;
  if (!event.message.empty()) trial.message = event.message;
  pending.erase(trial.id);
  scored.erase(trial.id);
  failing.erase(trial.id);
  std::erase(history.climbing, trial.id);
  for (int replicate = 0; replicate < spec.Replicates(); ++replicate) {
    const Job job{trial.id, trial.rung, replicate, AttemptKind::kTrain};
    ready[trial.bracket].erase(job);
    const auto found = jobs.find(job);
    if (found != jobs.end() && found->second.running == 0) jobs.erase(found);
  }
}

void Study::State::ApplyStudyState(const Event& event) {
  const bool was_paused = state == StudyState::kPaused;
  const bool pauses = event.study_state == StudyState::kPaused;
  if (pauses != was_paused) given_up_in_a_row = 0;  // who resumes it has mended what they died of meanwhile
  if (pauses && !was_paused) {
    before_pause = state;
    message_before_pause = message;
  }
  state = event.study_state;
  // Why it was resumed stands in the log; why it is as it is, is what was so before the pause.
  const bool resumed = was_paused && state == before_pause;
  message = resumed ? message_before_pause : event.message;
  if (state == StudyState::kStopping) {
    stop_asked = absl::StartsWith(message, kAskedToStop);
    interrupts = stop_asked || message == kGpuHoursUsed || message == kWallTimeOver;
  }
  if (state == StudyState::kEvaluating && !evaluations_planned) {
    evaluations_planned = true;
    interrupts = false;
    for (const Job& job : EvaluationJobs()) {
      evaluations.emplace(job, OpenJob{});
      ready_evaluations.insert(job);
    }
  }
}

}  // namespace rung
