// The study's questions about itself and its public face.
#include "search/study.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "search/study_state.h"

namespace rung {

Study::State::State(StudyId study_id, StudySpec study_spec, std::map<std::string, std::string> data)
    : id(study_id),
      spec(std::move(study_spec)),
      data_sha256(std::move(data)),
      budgets(spec.RungBudgets()),
      sampler(MakeSampler(spec)),
      scheduler(MakeScheduler(spec)),
      policy(spec.algorithm.scheduler == SchedulerType::kAuto ? std::make_unique<AutoPolicy>(spec) : nullptr),
      all_configs(FreshConfigs(spec.space).listed().size()) {
  for (size_t i = 0; i < spec.enqueue.size(); ++i) {
    (spec.enqueue[i].to_max ? enqueued_outside : enqueued_slots).push_back(i);
  }
  history.rungs.resize(budgets.size());
}

TrialView& Study::State::Trial(TrialId trial) {
  RUNG_CHECK(trial.value >= 1 && trial.value <= static_cast<int64_t>(trials.size()), "a trial of this study");
  return trials[static_cast<size_t>(trial.value - 1)];
}

const TrialView& Study::State::Trial(TrialId trial) const {
  RUNG_CHECK(trial.value >= 1 && trial.value <= static_cast<int64_t>(trials.size()), "a trial of this study");
  return trials[static_cast<size_t>(trial.value - 1)];
}

bool Study::State::Searching() const {
  const StudyState phase = state == StudyState::kPaused ? before_pause : state;
  return phase == StudyState::kRunning;
}

bool Study::State::TrialLeft() const {
  return !spec.stop.trials.has_value() || static_cast<int64_t>(trials.size()) < *spec.stop.trials;
}

bool Study::State::CanCreate() const {
  if (!Searching() || !TrialLeft()) return false;
  if (slots_created < enqueued_slots.size()) return true;
  if (policy != nullptr && policy->Over(brackets)) return false;
  // One full set of planned brackets is run in any case: each trains at other rungs.
  const bool is_planned =
      !spec.algorithm.Endless() &&
      static_cast<int>(brackets.size()) < spec.algorithm.FullSet(static_cast<int>(budgets.size()));
  if (!is_planned && IsUsedUp()) return false;
  const std::optional<int64_t> limit = sampler->Limit();
  return !limit.has_value() || history.grid_trials < *limit;
}

bool Study::State::IsUsedUp() const {
  return all_configs != 0 && history.configs.size() >= all_configs && IsRepeatable();
}

std::optional<int> Study::State::BracketLimit() const {
  const int full_set = spec.algorithm.FullSet(static_cast<int>(budgets.size()));
  if (spec.algorithm.Endless()) return full_set;
  if (spec.stop.brackets.has_value()) return spec.stop.brackets;
  if (spec.stop.EndsWithoutBrackets()) return std::nullopt;
  return full_set;
}

Bracket Study::State::NewBracket(int index) const {
  BracketPlan plan = scheduler->Plan(index);
  Bracket bracket;
  bracket.index = index;
  bracket.first_rung = plan.first_rung;
  bracket.planned = std::move(plan.trials);
  bracket.levels.resize(bracket.planned.size());
  if (!spec.algorithm.Climbs()) {
    const int64_t all = sampler->Limit().value_or(0) + static_cast<int64_t>(enqueued_slots.size());
    const int64_t trials_left = spec.stop.trials.value_or(0) - static_cast<int64_t>(std::min<size_t>(
                                                                   enqueued_outside.size(), trials.size()));
    bracket.planned = {static_cast<int>(!sampler->Limit().has_value()  ? std::max<int64_t>(trials_left, 0)
                                        : spec.stop.trials.has_value() ? std::min(all, trials_left)
                                                                       : all)};
  }
  bracket.top = scheduler->Top(bracket, 0);
  return bracket;
}

bool Study::State::SearchExhausted() const {
  if (policy != nullptr ? !pending.empty() : !active.empty()) return false;
  if (outside_created < enqueued_outside.size() && TrialLeft()) return false;
  if (policy != nullptr) return !CanCreate();  // but for promotions, which it is asked for
  for (const int index : open_brackets) {
    if (!Closed(brackets[static_cast<size_t>(index)])) return false;
  }
  const std::optional<int> limit = BracketLimit();
  const bool more_brackets = !limit.has_value() || static_cast<int>(brackets.size()) < *limit;
  return !more_brackets || !CanCreate();
}

bool Study::State::MayGrow() const {
  if (!Searching()) return false;
  if (outside_created < enqueued_outside.size() && TrialLeft()) return true;
  if (!CanCreate()) return false;
  for (const int index : open_brackets) {
    const Step step = scheduler->Next(CurrentStandings(), brackets[static_cast<size_t>(index)]);
    if (step.promotion.has_value() || step.new_trial_rung.has_value()) return true;
  }
  const std::optional<int> limit = BracketLimit();
  return !limit.has_value() || static_cast<int>(brackets.size()) < *limit;
}

int Study::State::LastRung(const TrialView& trial) const {
  if (trial.bracket < 0) return static_cast<int>(budgets.size()) - 1;
  const Bracket& bracket = brackets[static_cast<size_t>(trial.bracket)];
  return bracket.first_rung + bracket.Last();
}

double Study::State::Loss(double score) const {
  return spec.objective.goal == Goal::kMaximize ? -score : score;
}

// Whether there may be something to evaluate on: what a data description holds, only the trainer knows.
bool Study::State::MayHaveTest() const {
  const auto test = spec.trainer.find("test");
  if (test != spec.trainer.end() && test->is_string() && !test->get<std::string>().empty()) return true;
  const bool described = spec.trainer.contains("data") || spec.space.Find("data") != nullptr;
  return described && spec.trainer.at("type") != "command";
}

std::vector<Job> Study::State::EvaluationJobs() const {
  if (!MayHaveTest()) return {};
  std::set<TrialId> judged;
  if (incumbent.has_value()) judged.insert(incumbent->trial);
  const Config defaults = spec.space.Default();
  for (const TrialView& trial : trials) {
    const bool outside = trial.origin.source == Origin::Source::kEnqueued && trial.bracket < 0;
    if (outside && trial.config == defaults) judged.insert(trial.id);
    if (!outside) break;  // they are the first trials
  }
  std::vector<Job> jobs_wanted;
  for (const TrialId id_of_trial : judged) {
    const TrialView& trial = Trial(id_of_trial);
    for (auto rung = trial.rungs.rbegin(); rung != trial.rungs.rend(); ++rung) {
      if (!rung->second.score.has_value()) continue;
      jobs_wanted.push_back({trial.id, rung->first, 0, AttemptKind::kEvaluate});
      break;
    }
  }
  return jobs_wanted;
}

std::optional<Study::ResumePoint> Study::State::ResumeFrom(const Job& job) const {
  const TrialView& trial = Trial(job.trial);
  const auto point_of_result = [&](int rung) -> std::optional<ResumePoint> {
    const auto found = trial.rungs.find(rung);
    if (found == trial.rungs.end() || static_cast<size_t>(job.replicate) >= found->second.replicates.size()) {
      return std::nullopt;
    }
    const ReplicateView& replicate = found->second.replicates[static_cast<size_t>(job.replicate)];
    if (!replicate.result.has_value()) return std::nullopt;
    if (replicate.copied_from.has_value()) {
      const CopiedFrom& source = *replicate.copied_from;
      return ResumePoint{source.job.rung, replicate.checkpoint_attempt, source.job.trial,
                         source.study,    source.job.replicate,         rung};
    }
    return ResumePoint{rung, replicate.checkpoint_attempt, job.trial, id, job.replicate, rung};
  };
  if (job.kind == AttemptKind::kEvaluate) return point_of_result(job.rung);
  if (const auto open = jobs.find(job); open != jobs.end() && open->second.checkpoint_attempt != 0) {
    return ResumePoint{job.rung, open->second.checkpoint_attempt, job.trial, id, job.replicate, job.rung};
  }
  if (spec.budget.on_promotion == OnPromotion::kRestart) return std::nullopt;
  for (int rung = job.rung - 1; rung >= 0; --rung) {
    if (std::optional<ResumePoint> point = point_of_result(rung)) return point;
  }
  return std::nullopt;
}

// ---- public face

Study::Study(StudyId id, StudySpec spec, std::map<std::string, std::string> data_sha256)
    : state_(std::make_unique<State>(id, std::move(spec), std::move(data_sha256))) {}
Study::~Study() = default;
Study::Study(Study&&) noexcept = default;
Study& Study::operator=(Study&&) noexcept = default;

void Study::Apply(const Event& event) {
  state_->Apply(event);
}

bool Study::Wanted(const Job& job) const {
  if (IsFinished(state_->state)) return false;
  if (job.kind == AttemptKind::kEvaluate) return state_->evaluations.contains(job) && !state_->stop_asked;
  return !state_->interrupts && state_->active.contains(job.trial) && !state_->failing.contains(job.trial) &&
         state_->jobs.contains(job);
}

std::optional<int64_t> Study::MostAtOnce() const {
  constexpr int64_t kEvaluations = 2;  // of the best trial and of the defaults
  const State& state = *state_;
  if (IsFinished(state.state)) return 0;
  if (state.MayGrow()) return std::nullopt;
  int64_t most = static_cast<int64_t>(state.evaluations.size());
  if (state.Searching()) {
    // What climbs will have all its replicates open at once; at the last rung only those that are open now.
    const bool over =
        state.policy != nullptr && !state.policy->MayGoOn(state.CurrentStandings(), state.history);
    for (const TrialId id_of_trial : state.active) {
      const TrialView& trial = state.Trial(id_of_trial);
      if (over && !state.pending.contains(id_of_trial)) continue;
      if (trial.rung < trial.last_rung) most += state.spec.Replicates();
    }
    for (const auto& [job, open] : state.jobs) {
      const TrialView& trial = state.Trial(job.trial);
      if (trial.rung >= trial.last_rung) ++most;
    }
  } else {
    most += state.running_attempts;
  }
  return state.MayHaveTest() ? std::max(most, kEvaluations) : most;
}

bool Study::TakesLate(const Job& job, int64_t attempt) const {
  if (job.kind != AttemptKind::kTrain || !Wanted(job)) return false;
  const OpenJob& open = state_->jobs.at(job);
  return open.running == 0 && open.attempts == attempt && attempt > 0;
}

std::optional<Study::ResumePoint> Study::ResumeFrom(const Job& job) const {
  return state_->ResumeFrom(job);
}
std::string Study::Identity(const Job& job) const {
  return state_->Identity(job);
}
StudyId Study::id() const {
  return state_->id;
}
const StudySpec& Study::spec() const {
  return state_->spec;
}
StudyState Study::state() const {
  return state_->state;
}
const std::string& Study::state_message() const {
  return state_->message;
}
int64_t Study::last_seq() const {
  return state_->last_seq;
}
const TrialView& Study::trial(TrialId id) const {
  return state_->Trial(id);
}
bool Study::Has(TrialId id) const {
  return id.value >= 1 && id.value <= static_cast<int64_t>(state_->trials.size());
}
std::optional<Incumbent> Study::incumbent() const {
  return state_->incumbent;
}
double Study::device_seconds() const {
  return state_->device_seconds;
}
double Study::lost_seconds() const {
  return state_->lost_seconds;
}
double Study::budget_charged() const {
  return state_->budget_charged;
}
double Study::budget_saved() const {
  return state_->budget_saved;
}

std::vector<TrialId> Study::trials() const {
  std::vector<TrialId> ids;
  ids.reserve(state_->trials.size());
  for (const TrialView& trial : state_->trials) ids.push_back(trial.id);
  return ids;
}

std::vector<Study::BracketView> Study::brackets() const {
  std::vector<BracketView> views;
  for (size_t i = 0; i < state_->brackets.size(); ++i) {
    const Bracket& bracket = state_->brackets[i];
    BracketView view{static_cast<int>(i),    bracket.planned, bracket.first_rung, {}, {},
                     state_->Closed(bracket)};
    for (size_t level = 0; state_->policy != nullptr && level < view.planned.size(); ++level)
      view.planned[level] =
          std::max(view.planned[level], static_cast<int>(bracket.levels[level].entered.size()));
    for (const RungStanding& level : bracket.levels) {
      view.entered.push_back(static_cast<int>(level.entered.size()));
      view.finished.push_back(level.decided);
    }
    views.push_back(std::move(view));
  }
  return views;
}

int Study::planned_brackets() const {
  return state_->BracketLimit().value_or(static_cast<int>(state_->budgets.size()));
}

}  // namespace rung
